//! Places for connections, whatever they speak.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// A limit and the setting that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The setting.
    pub setting: &'static str,
    /// How many there may be.
    pub max: usize,
}

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub struct PlaceLimits {
    /// In all.
    pub in_all: Limit,
    /// From one address, as which a whole IPv6 network of 64 bits counts; loopback is exempt.
    pub per_address: Limit,
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
        let max = self.limits.per_address.max;
        let count = self.by_address.entry(neighbourhood(address)).or_default();
        let free = *count < max;
        *count += usize::from(free);
        free
    }

    fn check_all(&self) -> Result<(), Full> {
        if self.all < self.limits.in_all.max { Ok(()) } else { Err(Full(self.limits.in_all)) }
    }
}

/// What counts as one address for limits: a customer of an IPv6 network has a whole /64 (RFC 6177).
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// The limit that leaves no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full(Limit);

impl Full {
    /// The setting.
    pub fn setting(self) -> &'static str {
        self.0.setting
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
        taken.check_all()?;
        if !taken.count(address) {
            return Err(Full(taken.limits.per_address));
        }
        taken.all += 1;
        Ok(self.place(true, Some(address)))
    }

    /// A place for a connection of a proxy, which brings many people's requests: only all connections together limit
    /// those.
    pub fn take_for_proxy(self: &Arc<Self>) -> Result<Place, Full> {
        let mut taken = self.taken.lock();
        taken.check_all()?;
        taken.all += 1;
        Ok(self.place(true, None))
    }

    /// A place for what `address` keeps open through a proxy, whose connection has a place already.
    pub fn take_behind_proxy(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        if !taken.count(address) {
            return Err(Full(taken.limits.per_address));
        }
        Ok(self.place(false, Some(address)))
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
        let Some(address) = self.address.map(neighbourhood) else { return };
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

    fn limits(in_all: usize, per_address: usize) -> PlaceLimits {
        PlaceLimits {
            in_all: Limit { setting: "all", max: in_all },
            per_address: Limit { setting: "address", max: per_address },
        }
    }

    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let places = Places::new(limits(4, 2));
        let phone: IpAddr = "203.0.113.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:203.0.113.1".parse().unwrap();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let first = places.take(phone).unwrap();
        let _second = places.take(mapped).unwrap();
        let full = places.take(phone).unwrap_err();
        assert_eq!(full.setting(), "address", "one address in two spellings");
        let _local = (places.take(local).unwrap(), places.take(local).unwrap());
        let full = places.take("203.0.113.2".parse().unwrap()).unwrap_err();
        assert_eq!(full.setting(), "all");
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
        let places = Places::new(limits(2, 1));
        let phone: IpAddr = "203.0.113.1".parse().unwrap();
        let kept = places.take(phone).unwrap();
        assert!(places.take(phone).is_err());
        places.set_limits(limits(2, 2));
        let _second = places.take(phone).unwrap();
        places.set_limits(limits(1, 1));
        assert_eq!(places.taken(), 2, "nobody loses a place");
        drop(kept);
        assert!(places.take_for_proxy().is_err());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(neighbourhood(ip("203.0.113.9")), ip("203.0.113.9"));
        let places = Places::new(limits(10, 1));
        let first = places.take(ip("2001:db8:1:2:3:4:5:6")).unwrap();
        assert!(places.take(ip("2001:db8:1:2::1")).is_err(), "another address of the same customer");
        let _neighbour = places.take(ip("2001:db8:1:3::1")).unwrap();
        drop(first);
        let _second = places.take(ip("2001:db8:1:2::1")).unwrap();
    }
}
