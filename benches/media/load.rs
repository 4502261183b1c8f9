//! The load: all publishers and viewers of a run in one thread.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::link::{Direction, Link, State, Target};
use super::roles::{Part, Publisher, Role, Seat};
use super::stamps::{Encoding, Frames, LENGTH_BYTES, Seen, Stamp};
use super::tally::{Tally, Viewing};

/// Bytes read at once: more than a viewer finds waiting, so that one read is enough.
const READ_BYTES: usize = 256 * 1024;
/// Events between two looks at the publishers' clocks.
const EVENTS_AT_ONCE: usize = 256;
/// Between two sips of slow viewers.
const SIP_EVERY: Duration = Duration::from_millis(100);
/// A publisher that is later than this goes on from where it is, as an encoder on a busy phone.
const SLIP_NS: u64 = 500_000_000;
/// Between two looks at whether what is waited for has come.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// A slow viewer's receive buffer, so that what it does not read waits with the server.
const SLOW_RECEIVE_BYTES: usize = 32 * 1024;

pub struct Load {
    poll: Poll,
    events: Events,
    begin: Instant,
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    frames: Vec<Frames>,
    targets: Vec<Target>,
    /// When each publisher is due next.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    slow: BTreeSet<usize>,
    next_sip_ns: u64,
    /// Joiners come so often, from the moment that is noted.
    joins: Option<(u64, u64, usize)>,
    buffer: Vec<u8>,
    pub tally: Tally,
}

impl Load {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            begin: Instant::now(),
            seats: Vec::new(),
            free: Vec::new(),
            frames: Vec::new(),
            targets: Vec::new(),
            due: BinaryHeap::new(),
            slow: BTreeSet::new(),
            next_sip_ns: 0,
            joins: None,
            buffer: vec![0; READ_BYTES],
            tally: Tally::default(),
        })
    }

    pub fn now_ns(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    fn open(&mut self, target: usize, role: Role) -> io::Result<usize> {
        let (direction, receive_bytes) = match &role {
            Role::Publisher(_) => (Direction::Publish, None),
            Role::Viewer(_, Part::Crawl(_)) => (Direction::Play, Some(SLOW_RECEIVE_BYTES)),
            Role::Viewer(..) => (Direction::Play, None),
        };
        let mut link = Link::open(&self.targets[target], direction, receive_bytes)?;
        let at = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        self.poll.registry().register(link.socket(), Token(at), Interest::READABLE | Interest::WRITABLE)?;
        if let Role::Viewer(_, Part::Crawl(_)) = role {
            self.slow.insert(at);
        }
        self.seats[at] = Some(Seat { link, role, target });
        Ok(at)
    }

    /// One more publisher.
    pub fn publish(&mut self, target: &Target, encoding: Encoding) -> io::Result<()> {
        self.targets.push(target.clone());
        if self.frames.is_empty() {
            self.frames.push(Frames::new(&encoding));
        }
        let publisher = Publisher { encoding, frames: 0, pictures: 0, sounds: 0, from_ns: 0 };
        self.open(self.targets.len() - 1, Role::Publisher(publisher))?;
        Ok(())
    }

    /// One more place to watch; gives its number.
    pub fn add_target(&mut self, target: &Target) -> usize {
        self.targets.push(target.clone());
        self.targets.len() - 1
    }

    pub fn view(&mut self, target: usize, part: Part) -> io::Result<()> {
        let viewing = Viewing::new(self.now_ns());
        self.open(target, Role::Viewer(viewing, part))?;
        Ok(())
    }

    /// From now on somebody joins so often.
    pub fn let_join(&mut self, every: Duration, target: usize) {
        self.joins = Some((self.now_ns(), every.as_nanos() as u64, target));
    }

    pub fn stop_joins(&mut self) {
        self.joins = None;
    }

    /// How many publishers run, and how many viewers have seen a frame.
    pub fn running(&self) -> (usize, usize) {
        let mut counts = (0, 0);
        for seat in self.seats.iter().flatten() {
            match &seat.role {
                Role::Publisher(_) => counts.0 += usize::from(seat.link.is_running()),
                Role::Viewer(viewing, _) => counts.1 += usize::from(viewing.has_seen()),
            }
        }
        counts
    }

    /// How many viewers have asked to play.
    pub fn playing(&self) -> usize {
        let viewers = self.seats.iter().flatten().filter(|seat| matches!(seat.role, Role::Viewer(..)));
        viewers.filter(|seat| seat.link.is_running()).count()
    }

    /// The local ports of slow viewers.
    pub fn slow_ports(&self) -> BTreeSet<u16> {
        self.slow.iter().filter_map(|at| Some(self.seats[*at].as_ref()?.link.local_port())).collect()
    }

    /// Begins the measured time.
    pub fn begin_window(&mut self) {
        let now_ns = self.now_ns();
        self.tally.begin(now_ns);
        for seat in self.seats.iter_mut().flatten() {
            if let Role::Viewer(viewing, _) = &mut seat.role {
                viewing.begin(now_ns);
            }
        }
    }

    /// Ends it: whoever has seen nothing for long is stalled now.
    pub fn end_window(&mut self) {
        let now_ns = self.now_ns();
        for seat in self.seats.iter_mut().flatten() {
            if let Role::Viewer(viewing, Part::Watch) = &mut seat.role {
                viewing.check_stall(now_ns, &mut self.tally);
            }
        }
        self.tally.end(now_ns);
    }

    /// Lets everybody work until `done` says so, at most for so long. Gives whether it was done.
    pub fn run_until(&mut self, most: Duration, mut done: impl FnMut(&Self) -> bool) -> io::Result<bool> {
        let until_ns = self.now_ns() + most.as_nanos() as u64;
        while !done(self) {
            if self.now_ns() >= until_ns {
                return Ok(false);
            }
            self.run_for(LOOK_EVERY)?;
        }
        Ok(true)
    }

    /// Lets everybody work for so long.
    pub fn run_for(&mut self, span: Duration) -> io::Result<()> {
        let until_ns = self.now_ns() + span.as_nanos() as u64;
        while self.now_ns() < until_ns {
            self.work(until_ns)?;
            let now_ns = self.now_ns();
            self.sip(now_ns)?;
        }
        Ok(())
    }

    fn work(&mut self, until_ns: u64) -> io::Result<()> {
        self.send_due()?;
        self.let_next_join()?;
        let now_ns = self.now_ns();
        let mut next_ns = self.due.peek().map_or(until_ns, |Reverse((due_ns, _))| until_ns.min(*due_ns));
        if let Some((join_ns, ..)) = self.joins {
            next_ns = next_ns.min(join_ns);
        }
        if !self.slow.is_empty() {
            next_ns = next_ns.min(self.next_sip_ns);
        }
        let wait = Duration::from_nanos(next_ns.saturating_sub(now_ns));
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            self.attend(event.token().0, event.is_writable())?;
        }
        self.events = events;
        Ok(())
    }

    fn send_due(&mut self) -> io::Result<()> {
        // What falls due meanwhile waits for the next turn, or a busy machine would keep viewers from ever being served.
        let turn_ns = self.now_ns();
        while let Some(Reverse((due_ns, at))) = self.due.peek().copied() {
            if due_ns > turn_ns {
                break;
            }
            let now_ns = self.now_ns();
            self.due.pop();
            let Some(Seat { link, role: Role::Publisher(publisher), .. }) = &mut self.seats[at] else {
                continue;
            };
            let mut due_ns = due_ns;
            if now_ns - due_ns > SLIP_NS {
                publisher.from_ns += now_ns - due_ns;
                due_ns = now_ns;
                self.tally.slips += 1;
            }
            let frames = &mut self.frames[publisher.frames];
            self.tally.late.add_ns(now_ns - due_ns);
            let timestamp_ms = ((due_ns - publisher.from_ns) / 1_000_000) as u32;
            let frame = if publisher.picture_ns() <= publisher.sound_ns() {
                let number = publisher.pictures;
                publisher.pictures += 1;
                let is_key = number.is_multiple_of(publisher.encoding.gop_pictures());
                let frame = if is_key { &mut frames.keyframe } else { &mut frames.interframe };
                frame.stamped(timestamp_ms, Stamp { number, sent_ns: now_ns })
            } else {
                let number = publisher.sounds;
                publisher.sounds += 1;
                frames.audio.stamped(timestamp_ms, Stamp { number, sent_ns: now_ns })
            };
            let from = if link.is_framed() { 0 } else { LENGTH_BYTES };
            match link.send(&frame[from..]) {
                Ok(true) => {}
                Ok(false) => self.tally.unsent += 1,
                Err(error) => self.tally.fail(&format!("a publisher cannot send: {error}")),
            }
            self.due.push(Reverse((publisher.picture_ns().min(publisher.sound_ns()), at)));
        }
        Ok(())
    }

    fn let_next_join(&mut self) -> io::Result<()> {
        while let Some((due_ns, every_ns, target)) = self.joins
            && due_ns <= self.now_ns()
        {
            self.joins = Some((due_ns + every_ns, every_ns, target));
            self.view(target, Part::Join)?;
        }
        Ok(())
    }

    /// Lets slow viewers read their share.
    fn sip(&mut self, now_ns: u64) -> io::Result<()> {
        if self.slow.is_empty() || now_ns < self.next_sip_ns {
            return Ok(());
        }
        self.next_sip_ns = now_ns + SIP_EVERY.as_nanos() as u64;
        for at in self.slow.clone() {
            let Some(Seat { role: Role::Viewer(_, Part::Crawl(per_second)), .. }) = &self.seats[at] else {
                continue;
            };
            let share = per_second * SIP_EVERY.as_millis() as usize / 1000;
            self.read(at, share)?;
        }
        Ok(())
    }

    fn attend(&mut self, at: usize, is_writable: bool) -> io::Result<()> {
        let Some(seat) = self.seats[at].as_mut() else { return Ok(()) };
        if is_writable {
            match seat.link.on_writable() {
                Ok(State::Started) => self.start(at)?,
                Ok(_) => {}
                Err(error) => return self.close(at, Some(&error.to_string())),
            }
        }
        let crawls = matches!(
            &self.seats[at],
            Some(Seat { role: Role::Viewer(viewing, Part::Crawl(_)), .. }) if viewing.has_seen()
        );
        if crawls { Ok(()) } else { self.read(at, READ_BYTES) }
    }

    fn read(&mut self, at: usize, most: usize) -> io::Result<()> {
        loop {
            let Some(Seat { link, role, .. }) = self.seats[at].as_mut() else { return Ok(()) };
            let before = link.received;
            let mut now_ns = 0;
            let (begin, tally) = (self.begin, &mut self.tally);
            let mut leaves = false;
            let outcome = link.on_readable(&mut self.buffer[..most], |seen: Seen| {
                if now_ns == 0 {
                    now_ns = begin.elapsed().as_nanos() as u64;
                }
                if let Role::Viewer(viewing, part) = role {
                    viewing.see(seen, now_ns, *part, tally);
                    leaves = match part {
                        Part::Join => viewing.has_keyframe(),
                        Part::Churn => true,
                        Part::Watch | Part::Crawl(_) => false,
                    };
                }
            });
            tally.received(link.received - before, role.part());
            match outcome {
                Ok((State::Closed, _)) => {
                    let words = link.refusal.take().unwrap_or_else(|| "the server closed".to_owned());
                    return self.close(at, Some(&words));
                }
                Ok((state, more)) => {
                    if state == State::Started {
                        self.start(at)?;
                    }
                    if leaves {
                        return self.close(at, None);
                    }
                    if !more || most < READ_BYTES {
                        return Ok(());
                    }
                }
                Err(error) => return self.close(at, Some(&error.to_string())),
            }
        }
    }

    /// A connection has got so far that media may flow.
    fn start(&mut self, at: usize) -> io::Result<()> {
        let now_ns = self.now_ns();
        let publishers = self.due.len() as u64;
        let Some(seat) = self.seats[at].as_mut() else { return Ok(()) };
        match &mut seat.role {
            Role::Viewer(viewing, _) => viewing.asked(now_ns),
            Role::Publisher(publisher) => {
                // Publishers are spread over a picture's time in steps that do not repeat.
                let picture_ns = 1_000_000_000 / publisher.encoding.pictures_per_second as u64;
                publisher.from_ns = now_ns + publishers * 7_919_000 % picture_ns;
                if !seat.link.is_framed() {
                    seat.link.send(&self.frames[publisher.frames].headers)?;
                }
                self.due.push(Reverse((publisher.from_ns, at)));
            }
        }
        Ok(())
    }

    /// Lets go of a connection. An end that was not asked for is an error of the run.
    fn close(&mut self, at: usize, why: Option<&str>) -> io::Result<()> {
        let Some(mut seat) = self.seats[at].take() else { return Ok(()) };
        self.poll.registry().deregister(seat.link.socket())?;
        self.free.push(at);
        self.slow.remove(&at);
        match (why, seat.role) {
            (Some(why), Role::Viewer(_, part)) => self.tally.cut(part, why),
            (Some(why), Role::Publisher(_)) => self.tally.fail(&format!("a publisher was cut off: {why}")),
            (None, Role::Viewer(_, part)) => {
                self.tally.joined += 1;
                if part == Part::Churn {
                    self.view(seat.target, part)?;
                }
            }
            (None, Role::Publisher(_)) => {}
        }
        Ok(())
    }
}
