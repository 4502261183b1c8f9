//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::shapes::{DOCUMENTED, SHAPES, Shape};
use super::targets::floor::Merging;
use super::targets::{Kind, Other};

pub const USAGE: &str = "cargo bench --bench media -- [shape…] [option…]
  --targets LIST       of tidegate, tidegate-live, nginx, nginx-auto, url, floor and, with merging,
                       floor-<ms>, floor-lead-<ms>, floor-sound-<ms> (default: floor,nginx,tidegate)
  --window SECONDS     measured time of a run (default: WINDOW_SECONDS or 8)
  --runs N             rounds; in each, every target has its turn (default: RUNS or 3)
  --json FILE          the report, besides the table
  --publish-url URL    another RTMP server; {n} is the number of the stream. Adds the target `url`
  --play-url URL       where its viewers play (default: the publish URL)
  --server-pid PID     its process, for processor time and memory
TIDEGATE_BIN names another binary of the gateway; other TIDEGATE_… settings are passed on to it.
Shapes:";

pub struct Arguments {
    pub shapes: Vec<Shape>,
    pub targets: Vec<Kind>,
    pub window: Duration,
    pub runs: usize,
    pub json: Option<PathBuf>,
    pub other: Other,
}

fn from_environment<T: FromStr>(name: &str, default: T) -> Result<T, String> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}

impl Arguments {
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            shapes: Vec::new(),
            targets: Vec::new(),
            window: Duration::from_secs_f64(from_environment("WINDOW_SECONDS", 8.0)?),
            runs: from_environment("RUNS", 3)?,
            json: None,
            other: Other::default(),
        };
        // Cargo adds `--bench`.
        let mut words = words.filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                let shape = SHAPES.iter().find(|shape| shape.name == word);
                parsed.shapes.push(*shape.ok_or_else(|| format!("{word:?} is no shape"))?);
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
            let wrong = || format!("{word} {value:?} is no number");
            match word.as_str() {
                "--targets" => {
                    for name in value.split(',') {
                        parsed.targets.push(name.parse()?);
                    }
                }
                "--window" => {
                    parsed.window = Duration::from_secs_f64(value.parse().map_err(|_| wrong())?);
                }
                "--runs" => parsed.runs = value.parse().map_err(|_| wrong())?,
                "--json" => parsed.json = Some(value.into()),
                "--publish-url" => parsed.other.publish_url = value,
                "--play-url" => parsed.other.play_url = value,
                "--server-pid" => parsed.other.process = Some(value.parse().map_err(|_| wrong())?),
                _ => return Err(format!("{word} is no option")),
            }
        }
        parsed.fill_in();
        Ok(parsed)
    }

    fn fill_in(&mut self) {
        if self.shapes.is_empty() {
            self.shapes = SHAPES.iter().filter(|shape| DOCUMENTED.contains(&shape.name)).copied().collect();
        }
        if self.targets.is_empty() {
            self.targets =
                vec![Kind::Floor(Merging::None), Kind::Nginx { is_auto: false }, Kind::Tidegate("rtc")];
        }
        if self.other.play_url.is_empty() {
            self.other.play_url.clone_from(&self.other.publish_url);
        }
        if !self.other.publish_url.is_empty() && !self.targets.contains(&Kind::Other) {
            self.targets.push(Kind::Other);
        }
    }
}
