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

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// The places for connections.
#[derive(Debug)]
pub struct Places {
    limits: PlaceLimits,
    taken: Mutex<Taken>,
}

impl Places {
    /// All free.
    pub fn new(limits: PlaceLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    /// A place for a connection from `address`, if there is one.
    pub fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        if taken.all >= self.limits.connections_max {
            return None;
        }
        if !self.count(&mut taken, address) {
            return None;
        }
        taken.all += 1;
        Some(self.place(true, Some(address)))
    }

    /// A place for a connection of a proxy, which brings many people's requests: only all connections together limit
    /// those.
    pub fn take_for_proxy(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.all >= self.limits.connections_max {
            return None;
        }
        taken.all += 1;
        Some(self.place(true, None))
    }

    /// A place for what `address` keeps open through a proxy, whose connection has a place already.
    pub fn take_behind_proxy(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        self.count(&mut taken, address).then(|| self.place(false, Some(address)))
    }

    fn place(self: &Arc<Self>, in_all: bool, address: Option<IpAddr>) -> Place {
        Place { places: Arc::clone(self), in_all, address }
    }

    /// Counts one more of `address`, unless that has all it may have.
    fn count(&self, taken: &mut Taken, address: IpAddr) -> bool {
        if address.is_loopback() {
            return true;
        }
        let count = taken.by_address.entry(address).or_default();
        let free = *count < self.limits.connections_per_address_max;
        *count += usize::from(free);
        free
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
        assert!(places.take(phone).is_none(), "one address in two spellings");
        let _local = (places.take(local).unwrap(), places.take(local).unwrap());
        assert!(places.take("203.0.113.2".parse().unwrap()).is_none(), "all are taken");
        drop(first);
        let third = places.take(phone).unwrap();
        assert!(
            places.take_behind_proxy(phone).is_none(),
            "what comes through a proxy counts for its address"
        );
        drop(third);
        let through = places.take_behind_proxy(phone).unwrap();
        assert_eq!(places.taken(), 3, "its connection is the proxy's");
        assert!(places.take(phone).is_none());
        let _proxy = places.take_for_proxy().unwrap();
        assert!(places.take_for_proxy().is_none(), "all are taken");
        drop(through);
        assert_eq!(places.taken.lock().by_address.get(&phone), Some(&1), "the unused place was given back");
    }
}
