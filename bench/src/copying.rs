//! fetch-image beside a plain copy of the same bytes from the same source to the same sink.

use std::{
    env,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use hyper::body::Bytes;
use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use reqwest::Body;
use tokio::{
    io::{AsyncSeekExt, AsyncWriteExt},
    process::Command,
};

use crate::{
    cases::CASES,
    function::Function,
    median, program,
    report::Report,
    upstream::{Answer, Pace},
};

const ROUNDS: usize = 5;
const STREAMING: &str = "streaming";
/// Bytes a second of the source, and of the sink: about what a function's network gives.
const RATE: f64 = 75e6;
/// At least 0.9 of what the copy by way of a file makes: what is put into the bucket was decoded before, and so it is whole.
const MOST_SLOWER: f64 = 1.0 / 0.9;
/// In MB of 2²⁰ bytes.
const MOST_MEMORY: f64 = 4.0;
/// Of a pixel, at 16 bits a colour.
const BYTES: u32 = 6;

/// Copies `from` to `to` twice, streaming or by way of a file, and prints how many seconds the second time took: a process of its
/// own, as the function is.
pub async fn copy(way: &str, from: &str, to: &str) -> anyhow::Result<()> {
    let http = http_client::client(Duration::from_secs(60))?;
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let begun = Instant::now();
        let source = http.get(from).send().await?.error_for_status()?;
        let length = source.content_length().context("a source without a length")?;
        let body = match way {
            STREAMING => Body::wrap_stream(source.bytes_stream()),
            _ => {
                let mut file = tokio::fs::File::from_std(tempfile::tempfile()?);
                let mut bytes = source.bytes_stream();
                while let Some(piece) = bytes.next().await {
                    file.write_all(&piece?).await?;
                }
                file.rewind().await?;
                Body::from(file)
            }
        };
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
    let (mut rows, mut peaks) = (Vec::new(), Vec::new());
    // As many bytes as there are pixels for, and at last few bytes for many pixels.
    for (side, noise) in [(410, 410), (1_290, 1_290), (2_880, 2_880), (2_880, 58)] {
        eprintln!("copying a picture of {side} × {side}");
        let picture = picture(side, noise)?;
        let megabytes = picture.len() as f64 / f64::from(1 << 20);
        let source = ("GET /picture.png".to_owned(), vec![Answer::bytes(picture)]);
        let stage = case.stage_with(vec![source], Pace::Slow(RATE)).await?;
        let mut function = Function::start(&program(case.function)?, &stage.environment).await?;
        let at = |path: &str| format!("{}{path}", stage.upstream.origin);
        let copy = async |way| {
            let arguments = ["copy", way, &at("picture.png"), &at("media/copy")];
            let copy = Command::new(env::current_exe()?).args(arguments).output().await?;
            ensure!(copy.status.success(), "the copy failed: {}", String::from_utf8_lossy(&copy.stderr));
            anyhow::Ok(Duration::from_secs_f64(String::from_utf8(copy.stdout)?.trim().parse()?))
        };
        let (mut fetched, mut streamed, mut filed) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let call = function.call(&stage.event).await?;
            case.went_well(&call)?;
            fetched.push(call.ended - call.began);
            streamed.push(copy(STREAMING).await?);
            filed.push(copy("by way of a file").await?);
        }
        let rate = |times: &[Duration]| megabytes / median(times).as_secs_f64();
        let (fetched, streamed, filed) = (rate(&fetched), rate(&streamed), rate(&filed));
        let memory = function.peak_memory()? as f64 / 1024.0;
        peaks.push(memory);
        rows.push(vec![
            format!("{megabytes:.1} MB"),
            format!("{:.1}", f64::from(side * side) / 1e6),
            format!("{streamed:.0} MB/s"),
            format!("{filed:.0} MB/s"),
            format!("{fetched:.0} MB/s"),
            format!("{:.2}", fetched / streamed),
            format!("{:.2}", fetched / filed),
            format!("{memory:.1} MB"),
        ]);
        report.bound(
            &format!("a copy of {megabytes:.0} MB by way of a file, in fetch-image's"),
            filed / fetched,
            MOST_SLOWER,
        );
    }
    if let [.., many, few] = peaks[..] {
        report.bound("memory that bytes take beside the same pixels, in MB", many - few, MOST_MEMORY);
    }
    report.say("### Fetching a picture");
    let headings = [
        "file",
        " megapixels",
        " streaming",
        " by a file",
        " fetch-image",
        " of streaming",
        " of by a file",
        " peak memory",
    ];
    report.table(&headings, &rows);
    Ok(())
}
