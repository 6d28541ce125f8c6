//! The figures of one measurement, for people or for scripts.

use super::super::client_arguments::{Failure, print_line};
use serde_json::{Map, Value};

#[derive(Debug, Default)]
pub(super) struct Report(Map<String, Value>);

impl Report {
    pub(super) fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Rounded to what is worth reading.
    pub(super) fn add_rounded(&mut self, name: &str, value: f64) {
        self.add(name, (value * 1000.0).round() / 1000.0);
    }

    pub(super) fn print(self, json: bool) -> Result<(), Failure> {
        if json {
            return print_line(&Value::Object(self.0));
        }
        let width = self.0.keys().map(String::len).max().unwrap_or(0);
        for (name, value) in &self.0 {
            println!("{name:width$}  {value}");
        }
        Ok(())
    }
}
