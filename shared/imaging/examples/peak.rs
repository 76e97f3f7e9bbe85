//! Measures what the largest pictures cost that are taken: `make bench`, which is `cargo run --release -p imaging --example peak`.
//! It makes a file of every kind, with as many pixels as are taken of it, renders each in a process of its own, as an upload and
//! as an output of a job, and prints the time and the most memory that the process ever had. It fails when that is more than
//! 256 MB.

#![allow(clippy::print_stdout)]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, ensure};
use flate2::{Compression, write::ZlibEncoder};
use image::{ExtendedColorType, ImageEncoder, codecs::webp::WebPEncoder};
use imaging::{Fit, Limits, Wish, inspect, render};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::io::Write;

const WIDTH: u32 = 8192;
const HEIGHT: u32 = 6144;
const SIZE: (u32, u32) = (WIDTH, HEIGHT);
/// As many pixels as are taken of what is held whole: 6 bytes a pixel, 8, 4 and 5.
const PROGRESSIVE_444: (u32, u32) = (5_280, 5_280);
const PROGRESSIVE_INK: (u32, u32) = (4_576, 4_576);
const LOSSLESS: (u32, u32) = (7_472, 5_604);
const LOSSY_ALPHA: (u32, u32) = (6_688, 5_016);
const MOST_MEGABYTES: u64 = 256;

fn main() -> anyhow::Result<()> {
    match env::args().nth(1) {
        Some(file) => measure(Path::new(&file)),
        None => compare(),
    }
}

/// In a process of its own: renders the file and prints time and memory.
fn measure(file: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let wish = |width, height, fit| Wish { width, height, fit, quality: 82.0 };
    let upload = [wish(2048, 2048, Fit::Within), wish(512, 512, Fit::Within)];
    let output = [wish(1024, 1536, Fit::Cover), wish(320, 480, Fit::Cover)];
    let inspected = inspect(file, &Limits::default())?;
    let mut seconds = Vec::new();
    for wishes in [&upload, &output] {
        let start = Instant::now();
        render(file, &inspected, wishes, folder.path())?;
        seconds.push(format!("{:4.1} s", start.elapsed().as_secs_f64()));
    }
    println!("{} {}", peak_megabytes()?, seconds.join(" "));
    Ok(())
}

fn peak_megabytes() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("this needs Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()?.div_ceil(1024))
}

fn compare() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    println!("{:40} {:>7} {:>8}   upload output", "at 50 megapixels", "file", "memory");
    let mut most = 0;
    for (name, make) in KINDS {
        let path = folder.path().join("file");
        fs::write(&path, make()?)?;
        let file = fs::File::options().write(true).open(&path)?;
        let size = file.metadata()?.len();
        ensure!(size <= Limits::default().max_bytes, "{name} has {size} bytes");
        // What follows a picture is not looked at, but as many bytes as are taken of a file are in memory.
        file.set_len(Limits::default().max_bytes)?;
        let run = Command::new(env::current_exe()?).arg(&path).output()?;
        let answer = String::from_utf8(run.stdout)?;
        let (peak, seconds) = answer
            .trim()
            .split_once(' ')
            .with_context(|| format!("{name}: {}", String::from_utf8_lossy(&run.stderr)))?;
        println!("{name:40} {:>4} MB {peak:>5} MB   {seconds}", size.div_ceil(1 << 20));
        most = most.max(peak.parse()?);
    }
    ensure!(most < MOST_MEGABYTES, "{most} MB are too much");
    Ok(())
}

type Make = fn() -> anyhow::Result<Vec<u8>>;

const KINDS: [(&str, Make); 21] = [
    ("JPEG", || jpeg(SIZE, ColorType::Rgb, SamplingFactor::R_4_2_0, false)),
    ("JPEG 4:4:4", || jpeg(SIZE, ColorType::Rgb, SamplingFactor::R_4_4_4, false)),
    ("JPEG of ink", || jpeg(SIZE, ColorType::Cmyk, SamplingFactor::R_4_4_4, false)),
    ("JPEG, progressive", || jpeg(SIZE, ColorType::Rgb, SamplingFactor::R_4_2_0, true)),
    ("JPEG panorama, progressive", || jpeg((16_384, 3_072), ColorType::Rgb, SamplingFactor::R_4_2_0, true)),
    ("JPEG square, progressive", || jpeg((7_090, 7_090), ColorType::Rgb, SamplingFactor::R_4_2_0, true)),
    ("JPEG 4:4:4, progressive, 28 megapixels", || jpeg(PROGRESSIVE_444, ColorType::Rgb, SamplingFactor::R_4_4_4, true)),
    ("JPEG of ink, progressive, 21 megapixels", || {
        jpeg(PROGRESSIVE_INK, ColorType::Cmyk, SamplingFactor::R_4_4_4, true)
    }),
    ("PNG", || png(SIZE, (8, 2), false)),
    // A side of a little more than twice what is wished: the largest sums.
    ("PNG square, 38 megapixels", || png((6_140, 6_140), (8, 2), false)),
    ("PNG with alpha, 16 bits", || png(SIZE, (16, 6), false)),
    ("PNG with alpha, interlaced", || png(SIZE, (8, 6), true)),
    ("PNG panorama, interlaced", || png((16_384, 3_072), (8, 2), true)),
    ("WebP, lossy", || lossy(SIZE)),
    ("WebP panorama, lossy", || lossy((16_383, 3_072))),
    ("WebP, lossy with alpha, 33 megapixels", || lossy_with_alpha(LOSSY_ALPHA)),
    ("WebP, lossless, 41 megapixels", || lossless(LOSSLESS, ExtendedColorType::Rgb8)),
    ("WebP, lossless with alpha, 41 megapixels", || lossless(LOSSLESS, ExtendedColorType::Rgba8)),
    // Made smaller by no more than two: the most that libwebp is asked for beside the whole picture.
    ("WebP panorama, lossless, 41 megapixels", || lossless((16_383, 2_560), ExtendedColorType::Rgba8)),
    ("GIF", || gif(false)),
    ("GIF, interlaced", || gif(true)),
];

/// Something to look at that does not fill more bytes than are taken.
fn value(x: u32, y: u32, colour: u32) -> u8 {
    let x = x % WIDTH;
    let wave = ((x * (colour + 1) / 8 + y / 4) % 256).abs_diff(128);
    (wave + x * 60 / WIDTH + y * 60 / HEIGHT + u32::from((x * 7 + y * 13).is_multiple_of(32)) * 6) as u8
}

fn scene((width, height): (u32, u32), colours: u32) -> Vec<u8> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    places.flat_map(|(x, y)| (0..colours).map(move |colour| value(x, y, colour))).collect()
}

fn jpeg(size: (u32, u32), colours: ColorType, sampling: SamplingFactor, progressive: bool) -> anyhow::Result<Vec<u8>> {
    let pixels = scene(size, if colours == ColorType::Cmyk { 4 } else { 3 });
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 85);
    encoder.set_sampling_factor(sampling);
    encoder.set_progressive(progressive);
    encoder.encode(&pixels, size.0 as u16, size.1 as u16, colours)?;
    Ok(file)
}

/// No encoder interlaces, so the rows are laid by hand, each as its difference to the pixel before.
fn png((width, height): (u32, u32), (depth, kind): (u8, u8), interlaced: bool) -> anyhow::Result<Vec<u8>> {
    let colours = if kind == 6 { 4 } else { 3 };
    let bytes = u32::from(depth / 8);
    let passes: &[[u32; 4]] = if interlaced {
        &[[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]]
    } else {
        &[[0, 0, 1, 1]]
    };
    let mut data = ZlibEncoder::new(Vec::new(), Compression::fast());
    for [left, top, columns, rows] in passes {
        for y in (*top..height).step_by(*rows as usize) {
            let mut row = vec![1];
            let mut before = [0u8; 4];
            for x in (*left..width).step_by(*columns as usize) {
                for (colour, before) in (0..colours).zip(&mut before) {
                    let value = value(x, y, colour);
                    row.extend((0..bytes).map(|_| value.wrapping_sub(*before)));
                    *before = value;
                }
            }
            data.write_all(&row)?;
        }
    }
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([depth, kind, 0, 0, interlaced.into()]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in [(b"IHDR", header), (b"IDAT", data.finish()?), (b"IEND", Vec::new())] {
        let mut checksum = flate2::Crc::new();
        checksum.update(name);
        checksum.update(&data);
        file.extend((data.len() as u32).to_be_bytes());
        file.extend(name);
        file.extend(data);
        file.extend(checksum.sum().to_be_bytes());
    }
    Ok(file)
}

fn lossless(size: (u32, u32), kind: ExtendedColorType) -> anyhow::Result<Vec<u8>> {
    let pixels = scene(size, kind.channel_count().into());
    let mut file = Vec::new();
    WebPEncoder::new_lossless(&mut file).write_image(&pixels, size.0, size.1, kind)?;
    Ok(file)
}

/// Our own encoder, which encodes what it is asked to.
fn lossy((width, height): (u32, u32)) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let path: PathBuf = folder.path().join("file");
    fs::write(&path, png((width, height), (8, 2), false)?)?;
    let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
    let wish = Wish { width, height, fit: Fit::Within, quality: 82.0 };
    let rendered = render(&path, &inspect(&path, &limits)?, &[wish], folder.path())?;
    Ok(fs::read(&rendered.files[0].path)?)
}

fn lossy_with_alpha((width, height): (u32, u32)) -> anyhow::Result<Vec<u8>> {
    let opaque = lossy((width, height))?;
    // The transparency is coded as a lossless picture is, behind a byte that says so, without the five bytes of its head.
    let coded = lossless((width, height), ExtendedColorType::Rgb8)?;
    let mut body = b"WEBP".to_vec();
    let head = [&[0x10, 0, 0, 0], &(width - 1).to_le_bytes()[..3], &(height - 1).to_le_bytes()[..3]].concat();
    for (name, data) in [(b"VP8X", head), (b"ALPH", [&[1], &coded[25..]].concat()), (b"VP8 ", opaque[20..].to_vec())] {
        body.extend(name);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(&data);
        body.extend(&[0][..data.len() % 2]);
    }
    Ok([b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat())
}

fn gif(interlaced: bool) -> anyhow::Result<Vec<u8>> {
    let palette: Vec<u8> = (0..=255).flat_map(|value| [value, 255 - value, value / 2]).collect();
    let mut file = Vec::new();
    let mut encoder = gif::Encoder::new(&mut file, WIDTH as u16, HEIGHT as u16, &palette)?;
    let pixels = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| value(x, y, 0))).collect::<Vec<_>>();
    let mut frame = gif::Frame::from_indexed_pixels(WIDTH as u16, HEIGHT as u16, pixels, None);
    frame.interlaced = interlaced;
    encoder.write_frame(&frame)?;
    drop(encoder);
    Ok(file)
}
