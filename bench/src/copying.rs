//! fetch-image beside a plain copy of the same bytes from the same source to the same sink.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use hyper::body::Bytes;
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use tokio::process::Command;

use crate::{cases::CASES, function::Function, median, program, report::Report, upstream::Answer};

const ROUNDS: usize = 7;
/// Of a pixel, at 16 bits a colour.
const BYTES: u32 = 6;

/// Copies `from` to `to` twice, and prints how many seconds the second time took: a process of its own, as the function is.
pub async fn copy(from: &str, to: &str) -> anyhow::Result<()> {
    let http = http_client::client(Duration::from_secs(60))?;
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let begun = Instant::now();
        let source = http.get(from).send().await?.error_for_status()?;
        let length = source.content_length().context("a source without a length")?;
        let body = reqwest::Body::wrap_stream(source.bytes_stream());
        http.put(to).header("content-length", length).body(body).send().await?.error_for_status()?;
        took = begun.elapsed();
    }
    println!("{}", took.as_secs_f64());
    Ok(())
}

/// A square picture of which so many rows are noise, which no encoder makes smaller, and the rest is black.
fn picture(side: u32, noise: u32) -> anyhow::Result<Bytes> {
    // A xorshift: the same noise in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    let mut pixels: Vec<u8> = (0..side * noise * BYTES).map(|_| random()).collect();
    pixels.resize((side * side * BYTES) as usize, 0);
    let mut file = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::NoFilter);
    encoder.write_image(&pixels, side, side, ExtendedColorType::Rgb16)?;
    Ok(file.into())
}

/// Fetches pictures, and copies each beside.
pub async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let case = CASES.iter().find(|case| case.function == "fetch-image").context("no fetch-image")?;
    let mut rows = Vec::new();
    // As many bytes as there are pixels for, and at last few bytes for many pixels.
    for (side, noise) in [(410, 410), (1_290, 1_290), (2_880, 2_880), (2_880, 58)] {
        eprintln!("copying a picture of {side} × {side}");
        let picture = picture(side, noise)?;
        let megabytes = picture.len() as f64 / f64::from(1 << 20);
        let source = ("GET /picture.png".to_owned(), vec![Answer::bytes(picture)]);
        let stage = case.stage_with(vec![source], Duration::ZERO).await?;
        let mut function = Function::start(&program(case.function)?, &stage.environment).await?;
        let (mut fetched, mut copied) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let call = function.call(&stage.event).await?;
            case.went_well(&call)?;
            fetched.push(call.ended - call.began);
            let at = |path: &str| format!("{}{path}", stage.upstream.origin);
            let copy = Command::new(env::current_exe()?)
                .args(["copy", &at("picture.png"), &at("media/copy")])
                .output()
                .await?;
            ensure!(copy.status.success(), "the copy failed: {}", String::from_utf8_lossy(&copy.stderr));
            copied.push(Duration::from_secs_f64(String::from_utf8(copy.stdout)?.trim().parse()?));
        }
        let rate = |times: &[Duration]| megabytes / median(times).as_secs_f64();
        let memory = function.peak_memory()? as f64 / 1024.0;
        rows.push(vec![
            format!("{megabytes:.1} MB"),
            format!("{:.1}", f64::from(side * side) / 1e6),
            format!("{:.0} MB/s", rate(&copied)),
            format!("{:.0} MB/s", rate(&fetched)),
            format!("{:.2}", rate(&fetched) / rate(&copied)),
            format!("{memory:.1} MB"),
        ]);
    }
    report.say("### Fetching a picture");
    report.table(&["file", " megapixels", " plain copy", " fetch-image", " of the copy's", " peak memory"], &rows);
    Ok(())
}
