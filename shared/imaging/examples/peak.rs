//! Measures what the largest pictures cost that are taken: `cargo run --release -p imaging --example peak`. It makes a file of 50
//! megapixels of every kind, renders each in a process of its own, as an upload and as an output of a job, and prints the
//! time and the most memory that the process ever had. It fails when that is more than 256 MB.

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
    println!("{:32} {:>7} {:>8}   upload output", "50 megapixels", "file", "memory");
    let mut most = 0;
    for (name, make) in KINDS {
        let file = folder.path().join("file");
        fs::write(&file, make(&Scene)?)?;
        let size = fs::metadata(&file)?.len().div_ceil(1 << 20);
        let run = Command::new(env::current_exe()?).arg(&file).output()?;
        let answer = String::from_utf8(run.stdout)?;
        let (peak, seconds) = answer
            .trim()
            .split_once(' ')
            .with_context(|| format!("{name}: {}", String::from_utf8_lossy(&run.stderr)))?;
        println!("{name:32} {size:>4} MB {peak:>5} MB   {seconds}");
        most = most.max(peak.parse()?);
    }
    ensure!(most < MOST_MEGABYTES, "{most} MB are too much");
    Ok(())
}

type Make = fn(&Scene) -> anyhow::Result<Vec<u8>>;

const KINDS: [(&str, Make); 19] = [
    ("JPEG", |scene| jpeg(&scene.rgb(), ColorType::Rgb, SamplingFactor::R_4_2_0, false)),
    ("JPEG 4:4:4", |scene| jpeg(&scene.rgb(), ColorType::Rgb, SamplingFactor::R_4_4_4, false)),
    ("JPEG, progressive", |scene| jpeg(&scene.rgb(), ColorType::Rgb, SamplingFactor::R_4_2_0, true)),
    ("JPEG 4:4:4, progressive", |scene| jpeg(&scene.rgb(), ColorType::Rgb, SamplingFactor::R_4_4_4, true)),
    ("JPEG of ink, progressive", |scene| jpeg(&scene.rgba(), ColorType::Cmyk, SamplingFactor::R_4_4_4, true)),
    ("JPEG panorama, progressive", |scene| {
        jpeg_of(&scene.rgb(), (16_384, 3_072), ColorType::Rgb, SamplingFactor::R_4_4_4, true)
    }),
    // A side of a little less than four times what is wished: decoded at 1/2.
    ("JPEG square, progressive", |scene| {
        jpeg_of(&scene.rgb(), (7_090, 7_090), ColorType::Rgb, SamplingFactor::R_4_4_4, true)
    }),
    ("PNG", |scene| png(scene, (8, 2), false)),
    // A side of a little more than twice what is wished: the largest sums.
    ("PNG square, 38 megapixels", |scene| png_of(scene, (6_140, 6_140), (8, 2), false)),
    ("PNG with alpha, 16 bits", |scene| png(scene, (16, 6), false)),
    ("PNG with alpha, interlaced", |scene| png(scene, (8, 6), true)),
    ("PNG panorama, interlaced", |scene| png_of(scene, (16_384, 3_072), (8, 2), true)),
    ("WebP, lossy", |scene| lossy(scene, false)),
    ("WebP, lossy with alpha", |scene| lossy(scene, true)),
    ("WebP, lossy, panorama", |scene| {
        let file = png_of(scene, (16_383, 3_072), (8, 2), false)?;
        webp_of(&file, (16_383, 3_072))
    }),
    ("WebP, lossless", |scene| lossless(&scene.rgb(), ExtendedColorType::Rgb8)),
    ("WebP, lossless with alpha", |scene| lossless(&scene.rgba(), ExtendedColorType::Rgba8)),
    ("GIF", |scene| gif(scene, false)),
    ("GIF, interlaced", |scene| gif(scene, true)),
];

/// Something to look at that does not fill more bytes than are taken.
struct Scene;

impl Scene {
    fn value(x: u32, y: u32, colour: u32) -> u8 {
        let wave = ((x * (colour + 1) / 8 + y / 4) % 256).abs_diff(128);
        (wave + x * 60 / WIDTH + y * 60 / HEIGHT + u32::from((x * 7 + y * 13).is_multiple_of(32)) * 6) as u8
    }

    fn pixels(&self, colours: u32) -> Vec<u8> {
        let mut pixels = Vec::with_capacity((WIDTH * HEIGHT * colours) as usize);
        for (y, x) in (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (y, x))) {
            pixels.extend((0..colours).map(|colour| Self::value(x, y, colour)));
        }
        pixels
    }

    fn rgb(&self) -> Vec<u8> {
        self.pixels(3)
    }

    fn rgba(&self) -> Vec<u8> {
        self.pixels(4)
    }
}

fn jpeg(pixels: &[u8], colours: ColorType, sampling: SamplingFactor, progressive: bool) -> anyhow::Result<Vec<u8>> {
    jpeg_of(pixels, (WIDTH, HEIGHT), colours, sampling, progressive)
}

fn jpeg_of(
    pixels: &[u8],
    (width, height): (u32, u32),
    colours: ColorType,
    sampling: SamplingFactor,
    progressive: bool,
) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 85);
    encoder.set_sampling_factor(sampling);
    encoder.set_progressive(progressive);
    encoder.encode(pixels, width as u16, height as u16, colours)?;
    Ok(file)
}

fn png(scene: &Scene, kind: (u8, u8), interlaced: bool) -> anyhow::Result<Vec<u8>> {
    png_of(scene, (WIDTH, HEIGHT), kind, interlaced)
}

/// No encoder interlaces, so the rows are laid by hand, each as its difference to the pixel before.
fn png_of(
    _: &Scene,
    (width, height): (u32, u32),
    (depth, kind): (u8, u8),
    interlaced: bool,
) -> anyhow::Result<Vec<u8>> {
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
                    let value = Scene::value(x % WIDTH, y, colour);
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

fn lossless(pixels: &[u8], kind: ExtendedColorType) -> anyhow::Result<Vec<u8>> {
    let mut file = Vec::new();
    WebPEncoder::new_lossless(&mut file).write_image(pixels, WIDTH, HEIGHT, kind)?;
    Ok(file)
}

/// Our own encoder, which encodes what it is asked to.
fn webp_of(file: &[u8], (width, height): (u32, u32)) -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let path: PathBuf = folder.path().join("file");
    fs::write(&path, file)?;
    let limits = Limits { max_bytes: u64::MAX, ..Limits::default() };
    let wish = Wish { width, height, fit: Fit::Within, quality: 82.0 };
    let rendered = render(&path, &inspect(&path, &limits)?, &[wish], folder.path())?;
    Ok(fs::read(&rendered.files[0].path)?)
}

fn lossy(scene: &Scene, alpha: bool) -> anyhow::Result<Vec<u8>> {
    let opaque = webp_of(&png(scene, (8, 2), false)?, (WIDTH, HEIGHT))?;
    if !alpha {
        return Ok(opaque);
    }
    // The transparency is coded as a lossless picture is, behind a byte that says so, without the five bytes of its head.
    let coded = lossless(&scene.rgb(), ExtendedColorType::Rgb8)?;
    let mut body = b"WEBP".to_vec();
    let head = [&[0x10, 0, 0, 0], &(WIDTH - 1).to_le_bytes()[..3], &(HEIGHT - 1).to_le_bytes()[..3]].concat();
    for (name, data) in [(b"VP8X", head), (b"ALPH", [&[1], &coded[25..]].concat()), (b"VP8 ", opaque[20..].to_vec())] {
        body.extend(name);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend(&data);
        body.extend(&[0][..data.len() % 2]);
    }
    Ok([b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat())
}

fn gif(_: &Scene, interlaced: bool) -> anyhow::Result<Vec<u8>> {
    let palette: Vec<u8> = (0..=255).flat_map(|value| [value, 255 - value, value / 2]).collect();
    let mut file = Vec::new();
    let mut encoder = gif::Encoder::new(&mut file, WIDTH as u16, HEIGHT as u16, &palette)?;
    let pixels = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| Scene::value(x, y, 0))).collect::<Vec<_>>();
    let mut frame = gif::Frame::from_indexed_pixels(WIDTH as u16, HEIGHT as u16, pixels, None);
    frame.interlaced = interlaced;
    encoder.write_frame(&frame)?;
    drop(encoder);
    Ok(file)
}
