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
        if !address.is_loopback() {
            let count = taken.by_address.entry(address).or_default();
            if *count >= self.limits.connections_per_address_max {
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        Some(Place { places: Arc::clone(self), address })
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
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
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
        assert!(places.take(phone).is_some());
        assert_eq!(places.taken.lock().by_address.get(&phone), Some(&1), "the unused place was given back");
    }
}
