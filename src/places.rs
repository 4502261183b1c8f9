//! Places for connections, whatever they speak.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub struct PlaceLimits {
    /// In all.
    pub connections_max: usize,
    /// From one address; loopback is exempt.
    pub connections_per_address_max: usize,
}

#[derive(Debug)]
struct Taken {
    limits: PlaceLimits,
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

impl Taken {
    /// Counts one more of `address`, unless that has all it may have.
    fn count(&mut self, address: IpAddr) -> bool {
        if address.is_loopback() {
            return true;
        }
        let per_address_max = self.limits.connections_per_address_max;
        let count = self.by_address.entry(address).or_default();
        let free = *count < per_address_max;
        *count += usize::from(free);
        free
    }
}

/// Which limit leaves no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// That of all connections.
    All,
    /// That of one address.
    Address,
}

impl Full {
    /// The setting.
    pub fn setting(self) -> &'static str {
        match self {
            Self::All => "connections_max",
            Self::Address => "connections_per_address_max",
        }
    }
}

/// The places for connections.
#[derive(Debug)]
pub struct Places {
    taken: Mutex<Taken>,
}

impl Places {
    /// All free.
    pub fn new(limits: PlaceLimits) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::new(Taken { limits, all: 0, by_address: BTreeMap::new() }) })
    }

    /// From now on so many. Those who have a place keep it.
    pub fn set_limits(&self, limits: PlaceLimits) {
        self.taken.lock().limits = limits;
    }

    /// A place for a connection from `address`, if there is one.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        if taken.all >= taken.limits.connections_max {
            return Err(Full::All);
        }
        if !taken.count(address) {
            return Err(Full::Address);
        }
        taken.all += 1;
        Ok(self.place(true, Some(address)))
    }

    /// A place for a connection of a proxy, which brings many people's requests: only all connections together limit
    /// those.
    pub fn take_for_proxy(self: &Arc<Self>) -> Result<Place, Full> {
        let mut taken = self.taken.lock();
        if taken.all >= taken.limits.connections_max {
            return Err(Full::All);
        }
        taken.all += 1;
        Ok(self.place(true, None))
    }

    /// A place for what `address` keeps open through a proxy, whose connection has a place already.
    pub fn take_behind_proxy(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        if taken.count(address) { Ok(self.place(false, Some(address))) } else { Err(Full::Address) }
    }

    fn place(self: &Arc<Self>, in_all: bool, address: Option<IpAddr>) -> Place {
        Place { places: Arc::clone(self), in_all, address }
    }

    /// Connections there are.
    pub fn taken(&self) -> usize {
        self.taken.lock().all
    }
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    in_all: bool,
    /// Whose it is, where that is counted.
    address: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= usize::from(self.in_all);
        let Some(address) = self.address else { return };
        if let Some(count) = taken.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let places = Places::new(PlaceLimits { connections_max: 4, connections_per_address_max: 2 });
        let phone: IpAddr = "203.0.113.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:203.0.113.1".parse().unwrap();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let first = places.take(phone).unwrap();
        let _second = places.take(mapped).unwrap();
        assert!(places.take(phone).is_err(), "one address in two spellings");
        let _local = (places.take(local).unwrap(), places.take(local).unwrap());
        assert!(places.take("203.0.113.2".parse().unwrap()).is_err(), "all are taken");
        drop(first);
        let third = places.take(phone).unwrap();
        assert!(
            places.take_behind_proxy(phone).is_err(),
            "what comes through a proxy counts for its address"
        );
        drop(third);
        let through = places.take_behind_proxy(phone).unwrap();
        assert_eq!(places.taken(), 3, "its connection is the proxy's");
        assert!(places.take(phone).is_err());
        let _proxy = places.take_for_proxy().unwrap();
        assert!(places.take_for_proxy().is_err(), "all are taken");
        drop(through);
        assert_eq!(places.taken.lock().by_address.get(&phone), Some(&1), "the unused place was given back");
    }

    #[test]
    fn other_limits_hold_from_then_on() {
        let places = Places::new(PlaceLimits { connections_max: 2, connections_per_address_max: 1 });
        let phone: IpAddr = "203.0.113.1".parse().unwrap();
        let kept = places.take(phone).unwrap();
        assert!(places.take(phone).is_err());
        places.set_limits(PlaceLimits { connections_max: 2, connections_per_address_max: 2 });
        let _second = places.take(phone).unwrap();
        places.set_limits(PlaceLimits { connections_max: 1, connections_per_address_max: 1 });
        assert_eq!(places.taken(), 2, "nobody loses a place");
        drop(kept);
        assert!(places.take_for_proxy().is_err());
    }
}
