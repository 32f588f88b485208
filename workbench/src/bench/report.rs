//! Tables for people, JSON for programs.

use serde_json::{Value, json};

use super::cases::Group;
use super::inputs::Inputs;
use super::measure::{Sample, median};

/// What the tables are about.
pub(super) fn header(inputs: &Inputs, runs: usize) {
    println!("{}", machine());
    println!(
        "image: {} layers, {:.1} MB of tar; medians of {runs} runs; MB/s of tar, per wall second and per processor second",
        inputs.blobs.len(),
        inputs.image_bytes as f64 / 1e6
    );
}

/// A group as a table on standard output.
pub(super) fn table(group: &Group, samples: &[Vec<Sample>]) {
    println!(
        "\n{} ({:.1} MB of tar)",
        group.name,
        group.tar_bytes as f64 / 1e6
    );
    println!(
        "  {:46} {:>8} {:>15} {:>8} {:>8} {:>9} {:>9} {:>7} {:>7} {:>9} {:>7}",
        "",
        "wall s",
        "min..max",
        "cpu s",
        "MB/s",
        "MB/s/core",
        "peak MB",
        "x wall",
        "x cpu",
        "out MB",
        "x size"
    );
    let ours = samples.first().and_then(|s| Summary::of(s));
    for (case, samples) in group.cases.iter().zip(samples) {
        let Some(it) = Summary::of(samples) else {
            println!("  {:46} failed", case.name);
            continue;
        };
        let times = |value: f64, base: Option<f64>| {
            base.map_or(String::new(), |base| format!("{:.2}", value / base))
        };
        println!(
            "  {:46} {:>8.3} {:>15} {:>8.2} {:>8.0} {:>9.0} {:>9.1} {:>7} {:>7} {:>9} {:>7}",
            case.name,
            it.wall,
            format!("{:.2}..{:.2}", it.min, it.max),
            it.cpu,
            group.tar_bytes as f64 / 1e6 / it.wall,
            group.tar_bytes as f64 / 1e6 / it.cpu,
            it.peak as f64 / 1e6,
            times(it.wall, ours.as_ref().map(|o| o.wall)),
            times(it.cpu, ours.as_ref().map(|o| o.cpu)),
            it.output
                .map_or(String::new(), |bytes| format!("{:.1}", bytes / 1e6)),
            it.output.map_or(String::new(), |bytes| times(
                bytes,
                ours.as_ref().and_then(|o| o.output)
            )),
        );
        if let Some(entries) = group.entries {
            println!(
                "  {:46} {:.0} bytes of memory for each entry",
                "",
                it.peak as f64 / entries as f64
            );
        }
    }
}

/// A group as JSON.
pub(super) fn json(group: &Group, samples: &[Vec<Sample>]) -> Value {
    let cases = group.cases.iter().zip(samples).map(|(case, samples)| {
        let all = |field: fn(&Sample) -> f64| samples.iter().map(field).collect::<Vec<_>>();
        json!({
            "name": case.name,
            "wall_seconds": all(|s| s.wall),
            "cpu_seconds": all(|s| s.cpu),
            "peak_bytes": samples.iter().map(|s| s.peak).collect::<Vec<_>>(),
            "output_bytes": samples.iter().map(|s| s.output).collect::<Vec<_>>(),
            "median_wall_seconds": Summary::of(samples).map(|s| s.wall),
            "tar_bytes_per_cpu_second": Summary::of(samples).map(|s| group.tar_bytes as f64 / s.cpu),
        })
    });
    json!({
        "name": group.name,
        "tar_bytes": group.tar_bytes,
        "entries": group.entries,
        "cases": cases.collect::<Vec<_>>(),
    })
}

/// Everything as JSON on standard output.
pub(super) fn print_json(inputs: &Inputs, groups: Vec<Value>) {
    let report = json!({
        "machine": machine(),
        "image": { "layers": inputs.blobs.len(), "tar_bytes": inputs.image_bytes },
        "groups": groups,
    });
    println!("{report:#}");
}

/// Processor, number of cores and kernel.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let cpu = cpu.map_or("unknown processor", |rest| {
        rest.trim_matches([' ', '\t', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cpu}, {cores} cores, Linux {}", kernel.trim())
}

/// Samples of one command as one line.
struct Summary {
    wall: f64,
    min: f64,
    max: f64,
    cpu: f64,
    peak: u64,
    output: Option<f64>,
}

impl Summary {
    fn of(samples: &[Sample]) -> Option<Self> {
        let walls = || samples.iter().map(|s| s.wall);
        Some(Self {
            peak: samples.iter().map(|s| s.peak).max()?,
            wall: median(walls()),
            min: walls().fold(f64::INFINITY, f64::min),
            max: walls().fold(0.0, f64::max),
            cpu: median(samples.iter().map(|s| s.cpu)),
            output: samples.last()?.output.map(|bytes| bytes as f64),
        })
    }
}
