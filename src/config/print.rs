//! The annotated default file.

use super::settings::{Preset, SETTINGS, Setting};
use crate::environment::variable;

const HEAD: &str = "\
# The settings of Tidegate, each at its default. Keep what you change, remove the rest.
# Every setting is also an environment variable, which is stronger than this file:
# TIDEGATE_ and the upper-case key. Times and sizes carry their unit in the name.
# What is marked \"Reload\" also changes while the gateway runs, by `tidegate reload` or SIGHUP.
";

/// A TOML file with every setting at its default, explained. It holds no secret and reads back as the default.
pub fn annotated_defaults() -> String {
    let mut text = HEAD.to_owned();
    for setting in &SETTINGS {
        text.push('\n');
        describe(&mut text, setting);
    }
    text
}

fn describe(text: &mut String, setting: &Setting) {
    for line in setting.doc {
        text.push_str(&format!("#{line}\n"));
    }
    let shown = variable(setting.key);
    let reload = if setting.is_live { " Reload." } else { "" };
    match setting.default {
        Preset::Number { default, min, max } => {
            text.push_str(&format!("# Range: {min} to {max}. Environment: {shown}.{reload}\n"));
            text.push_str(&format!("{} = {default}\n", setting.key));
        }
        Preset::Flag(default) => {
            text.push_str(&format!("# Form: {}. Environment: {}\n", setting.form, variable(setting.key)));
            text.push_str(&format!("{} = {default}\n", setting.key));
        }
        Preset::Text(default) => {
            text.push_str(&format!("# Form: {}. Environment: {shown}.{reload}\n", setting.form));
            text.push_str(&format!("{} = {default:?}\n", setting.key));
        }
    }
}
