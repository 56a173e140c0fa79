//! What a later run must know of a bed.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cleanup;
use crate::layout::Layout;

/// What a later run must know of a bed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) nodes: u8,
}

impl Record {
    /// The record of the bed, made for a new bed of that many nodes.
    pub(crate) fn ensure(layout: &Layout, nodes: Option<u8>) -> Result<Record> {
        if let Some(found) = Record::read(layout)? {
            if nodes.is_some_and(|nodes| nodes != found.nodes) {
                bail!("bed {} has {} node(s); take it down first", layout.name(), found.nodes);
            }
            return Ok(found);
        }
        let wanted = Record { nodes: nodes.unwrap_or(2) };
        if !(1..=9).contains(&wanted.nodes) {
            bail!("a bed has 1 to 9 nodes, not {}", wanted.nodes);
        }
        // Whatever is there without a record is what a killed run left.
        cleanup::remove(layout)?;
        fs::create_dir_all(layout.root())
            .with_context(|| format!("creating {}", layout.root().display()))?;
        let fresh = layout.root().join("bed.json.new");
        fs::write(&fresh, serde_json::to_vec(&wanted)?)?;
        fs::rename(fresh, path(layout)).context("recording the bed")?;
        Ok(wanted)
    }

    /// The record of the bed, if there is one.
    pub(crate) fn read(layout: &Layout) -> Result<Option<Record>> {
        let path = path(layout);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("reading {} (take the bed down)", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }
}

fn path(layout: &Layout) -> PathBuf {
    layout.root().join("bed.json")
}
