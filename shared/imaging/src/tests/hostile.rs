//! What strangers may send: lies, cuts, bombs, and any bytes at all.

use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use image::ExtendedColorType;
use jpeg_encoder::SamplingFactor;

use super::{Desk, WHOLE, decoded, files::*, is_invalid, is_too_large};
use crate::{Fit, ImageError, Limits, Wish, inspect};

const SMALL: Wish = Wish { width: 16, height: 24, fit: Fit::Cover, quality: 75.0 };

/// A good file of every kind.
fn good_files() -> Vec<(&'static str, Vec<u8>)> {
    let (width, height) = (61, 45);
    let pixels = scene(width, height);
    let rgba = with_alpha(&pixels, |index| (index % 256) as u8);
    let indexes: Vec<u8> = (0..61 * 45).map(|index| (index * index % 5) as u8).collect();
    let ink: Vec<u8> = rgba.iter().rev().copied().collect();
    let row = |x: u32, y: u32, step: u32| -> Vec<u8> {
        let line = &rgba[(y * width * 4) as usize..((y + 1) * width * 4) as usize];
        line.chunks_exact(4).skip(x as usize).step_by(step as usize).flatten().copied().collect()
    };
    let exif = [b"Exif\0\0", exif(6, true).as_slice()].concat();
    let profile =
        [b"ICC_PROFILE\0\x01\x01", moxcms::ColorProfile::new_display_p3().encode().unwrap().as_slice()].concat();
    let frames = [lossy(&pixels, width, height), lossless(&rgba, width, height, None)]
        .map(|frame| animation_frame(&frame, (0, 0), (width, height)));
    vec![
        ("jpeg", PLAIN.file(&pixels, width, height, &[(1, &exif), (2, &profile)])),
        ("jpeg with restarts", Jpeg { restart: 2, ..PLAIN }.file(&pixels, width, height, &[])),
        ("progressive jpeg", Jpeg { progressive: true, ..PLAIN }.file(&pixels, width, height, &[])),
        ("refined jpeg", include_bytes!("refined.jpg").to_vec()),
        ("ink jpeg", Jpeg { colours: jpeg_encoder::ColorType::CmykAsYcck, ..PLAIN }.file(&ink, width, height, &[])),
        ("png", png(&pixels, width, height, ExtendedColorType::Rgb8)),
        (
            "interlaced png",
            png_of(width, height, (8, 6, true), &[(b"IDAT", &zlib(&png_rows(width, height, true, row)))]),
        ),
        ("lossy webp", lossy(&pixels, width, height)),
        ("lossy webp with alpha", crate::webp::libwebp::encode_rgba(&rgba, width, height, false)),
        ("lossless webp", crate::webp::libwebp::encode_rgba(&rgba, width, height, true)),
        (
            "animated webp",
            riff(&[
                (b"VP8X", &extended(2, width, height)),
                (b"ANIM", &[0; 6]),
                (b"ANMF", &frames[0]),
                (b"ANMF", &frames[1]),
            ]),
        ),
        ("gif", gif(61, 45, &[GifFrame(0, 0, 61, 45, &indexes), GifFrame(5, 5, 2, 2, &[1; 4])])),
    ]
}

#[test]
fn a_file_that_breaks_off_anywhere_is_refused() {
    for (name, file) in good_files() {
        Desk::with(&file).render(&[SMALL]).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let step = (file.len() / 60).max(1);
        for length in (0..file.len()).step_by(step).chain(file.len() - 9..file.len()) {
            // The padding of a WebP's last chunk may be missing, which its size says.
            let refused = is_invalid(Desk::with(&file[..length]).render(&[SMALL]));
            assert!(refused, "{name} of {length} bytes instead of {}", file.len());
        }
    }
}

#[test]
fn a_file_that_breaks_off_is_refused_although_its_end_was_mended() {
    for (name, file) in good_files() {
        for percent in [40, 60, 80] {
            let cut = &file[..file.len() * percent / 100];
            let mended = match name {
                name if name.contains("jpeg") => [cut, &[0xff, 0xd9]].concat(),
                name if name.contains("webp") => {
                    let mut mended = cut.to_vec();
                    let data = if name == "lossy webp" || name == "lossless webp" { 20 } else { continue };
                    mended[4..8].copy_from_slice(&(cut.len() as u32 - 8).to_le_bytes());
                    mended[data - 4..data].copy_from_slice(&((cut.len() - data) as u32).to_le_bytes());
                    mended
                }
                name if name.contains("png") => {
                    let data = file.windows(4).position(|window| window == b"IDAT").unwrap() + 4;
                    let head = &file[..data - 8];
                    [head, &chunk(b"IDAT", &file[data..data.max(cut.len())]), &chunk(b"IEND", &[])].concat()
                }
                _ => {
                    // After the first frame's palette the data comes in blocks of which each says its length.
                    let pixels = file.iter().position(|byte| *byte == 0x2c).unwrap() + 11;
                    let block = file[pixels].min(60);
                    [&file[..pixels], &[block], &file[pixels + 1..pixels + 1 + usize::from(block)], &[0, 0x3b]].concat()
                }
            };
            let seen = Desk::with(&mended).render(&[SMALL]);
            assert!(is_invalid(seen), "{name} cut to {percent} %");
        }
    }
}

#[test]
fn a_jpeg_with_bytes_between_its_segments_is_no_broken_one() {
    let file = PLAIN.file(&scene(64, 64), 64, 64, &[]);
    let tables = file.windows(2).position(|window| window == [0xff, 0xdb]).unwrap();
    let padded = [&file[..tables], &[0, 7, 0], &file[tables..]].concat();
    assert!(decoded(&padded) == decoded(&file));
}

#[test]
fn what_is_no_picture_of_ours_is_refused() {
    let texts: [&[u8]; 9] = [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html>",
        b"BM\x3a\0\0\0",
        b"II*\0",
        b"\0\0\0\x1cftypavif",
        b"GIF89a",
    ];
    for text in texts {
        assert!(is_invalid(Desk::with(text).inspect()));
    }
    let missing = inspect("/nonexistent".as_ref(), &Limits::default());
    assert!(matches!(missing, Err(ImageError::Unreadable(_))));
}

#[test]
fn too_many_pixels_are_refused_by_the_header_alone() {
    let gif_of = |width: u16, height: u16| {
        let mut file = gif(1, 1, &[GifFrame(0, 0, 1, 1, &[0])]);
        file[6..10].copy_from_slice(&[width.to_le_bytes(), height.to_le_bytes()].concat());
        file
    };
    let jpeg_of = |width: u16, height: u16| {
        let mut file = PLAIN.file(&scene(8, 8), 8, 8, &[]);
        let frame = file.windows(2).position(|window| window == [0xff, 0xc0]).unwrap();
        file[frame + 5..frame + 9].copy_from_slice(&[height.to_be_bytes(), width.to_be_bytes()].concat());
        file
    };
    let lossless_of = |width: u32, height: u32| {
        let size = (width - 1) | (height - 1) << 14;
        riff(&[(b"VP8L", &[&[0x2f], size.to_le_bytes().as_slice(), &[0; 20]].concat())])
    };
    let files = [
        png_of(100_000, 1, (8, 2, false), &[]),
        png_of(1, 100_000, (8, 2, false), &[]),
        png_of(16_000, 16_000, (1, 0, false), &[]),
        png_of(u32::MAX, u32::MAX, (16, 6, false), &[]),
        jpeg_of(65_535, 1),
        jpeg_of(16_000, 16_000),
        gif_of(1, 65_535),
        gif_of(16_000, 16_000),
        lossless_of(16_000, 16_000),
        riff(&[
            (b"VP8X", &extended(2, 1 << 24, 2)),
            (b"ANMF", &animation_frame(&lossy(&[0; 12], 2, 2), (0, 0), (2, 2))),
        ]),
    ];
    for file in files {
        assert!(is_too_large(Desk::with(&file).inspect()));
    }
    let file = PLAIN.file(&scene(64, 64), 64, 64, &[]);
    let desk = Desk::with(&file);
    let too_large = |limits: Limits| is_too_large(inspect(&desk.file(), &limits));
    assert!(too_large(Limits { max_bytes: file.len() as u64 - 1, ..Limits::default() }));
    assert!(too_large(Limits { max_pixels: 64 * 64 - 1, ..Limits::default() }));
    assert!(too_large(Limits { max_side: 63, ..Limits::default() }));
    assert!(!too_large(Limits { max_bytes: file.len() as u64, max_pixels: 64 * 64, max_side: 64, max_held: 0 }));
}

#[test]
fn what_a_decoder_would_hold_of_the_whole_picture_is_limited() {
    let pixels = scene(64, 64);
    let rgba = with_alpha(&pixels, |index| index as u8);
    let jpeg = |sampling, progressive| Jpeg { sampling, progressive, ..PLAIN }.file(&pixels, 64, 64, &[]);
    let webp = |lossless| crate::webp::libwebp::encode_rgba(&rgba, 64, 64, lossless);
    // Sequential, but with a scan for each colour.
    let mut in_turn = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut in_turn, 95);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.set_optimized_huffman_tables(true);
    encoder.encode(&pixels, 64, 64, jpeg_encoder::ColorType::Rgb).unwrap();
    assert_eq!(in_turn.windows(2).filter(|window| *window == [0xff, 0xda]).count(), 3);
    let files = [
        (0, jpeg(SamplingFactor::R_4_4_4, false)),
        (3, in_turn),
        (3, jpeg(SamplingFactor::R_4_2_0, true)),
        (6, jpeg(SamplingFactor::R_4_4_4, true)),
        (0, lossy(&pixels, 64, 64)),
        (5, webp(false)),
        (4, webp(true)),
        (4, riff(&[(b"VP8X", &extended(2, 64, 64)), (b"ANMF", &animation_frame(&webp(true), (0, 0), (64, 64)))])),
    ];
    for (bytes, file) in files {
        let desk = Desk::with(&file);
        let held = |max_held| inspect(&desk.file(), &Limits { max_held, ..Limits::default() });
        assert!(held(bytes * 64 * 64).is_ok(), "{bytes} bytes a pixel");
        desk.render(&[SMALL]).unwrap();
        assert!(bytes == 0 || is_too_large(held(bytes * 64 * 64 - 1)), "{bytes} bytes a pixel");
    }
}

#[test]
fn a_file_that_changed_since_it_was_inspected_is_refused() {
    let desk = Desk::with(&PLAIN.file(&scene(64, 64), 64, 64, &[]));
    let inspected = desk.inspect().unwrap();
    fs::write(desk.file(), PLAIN.file(&scene(64, 65), 64, 65, &[])).unwrap();
    assert!(is_invalid(crate::render(&desk.file(), &inspected, &[WHOLE], desk.0.path())));
}

#[test]
fn a_second_header_that_is_modest_hides_no_large_one() {
    let large = png_of(60_000, 60_000, (8, 2, false), &[]);
    let small = png_of(8, 8, (8, 2, false), &[]);
    let both = [&large[..large.len() - 12], &small[8..]].concat();
    assert!(is_too_large(Desk::with(&both).inspect()));
    let mut large = PLAIN.file(&scene(8, 8), 8, 8, &[]);
    let frame = large.windows(2).position(|window| window == [0xff, 0xc0]).unwrap();
    let modest = large[frame..frame + 19].to_vec();
    large[frame + 5..frame + 9].fill(0xf0);
    let both = [&large[..frame + 19], &modest, &large[frame + 19..]].concat();
    assert!(is_too_large(Desk::with(&both).inspect()));
}

#[test]
fn bombs_take_little_memory_and_time() {
    let _alone = alone();
    let nothing = vec![0; 50 << 20];
    let (width, height) = (8192, 6144);
    let row = vec![0; 1 + width as usize / 8];
    let bombs = [
        // A picture of one bit a pixel, all of one colour: 50 million pixels in some kilobytes.
        ("png", png_of(width, height, (1, 0, false), &[(b"IDAT", &zlib(&row.repeat(height as usize)))])),
        // Fifty times as many bytes as the picture needs.
        ("long png", png_of(8, 8, (8, 2, false), &[(b"IDAT", &zlib(&nothing))])),
        // A colour profile that inflates to 50 MB.
        (
            "profile",
            png_of(
                8,
                8,
                (8, 2, false),
                &[
                    (b"iCCP", &[b"profile\0\0", zlib(&nothing).as_slice()].concat()),
                    (b"IDAT", &zlib(&png_rows(8, 8, false, |_, _, _| vec![0; 24]))),
                ],
            ),
        ),
        ("text", {
            let text = [b"text\0\0", zlib(&nothing).as_slice()].concat();
            let data = zlib(&png_rows(8, 8, false, |_, _, _| vec![0; 24]));
            png_of(8, 8, (8, 2, false), &[(b"zTXt", &text), (b"IDAT", &data)])
        }),
        ("gif", gif_bomb(8192, 6144)),
        ("webp", one_colour(7472, 5604)),
        ("code tables", many_codes()),
        ("jpeg", many_scans()),
    ];
    drop(nothing);
    for (name, bomb) in bombs {
        assert!(bomb.len() < 1 << 20, "{name} is small");
        begin_measuring();
        let before = Instant::now();
        let seen = Desk::with(&bomb).render(&[Wish { width: 2048, height: 2048, ..SMALL }]);
        assert!(matches!(seen, Ok(_) | Err(ImageError::Invalid(_) | ImageError::TooLarge)), "{name}: {seen:?}");
        // In a debug build, beside other tests; released it is a tenth.
        assert!(before.elapsed() < Duration::from_secs(60), "{name} took {:?}", before.elapsed());
        // libwebp has room for each group's largest tables, and fills five of 256 entries; see `Limits`.
        let most = if name == "code tables" { 512 } else { 256 };
        assert!(peak_megabytes() < most, "{name} took {} MB", peak_megabytes());
    }
}

/// Until what it answers with is dropped, the test that called is the only one that takes much memory.
fn alone() -> MutexGuard<'static, ()> {
    static LARGE: Mutex<()> = Mutex::new(());
    LARGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets back what [`peak_megabytes`] counts from: <https://www.kernel.org/doc/html/latest/filesystems/proc.html>.
fn begin_measuring() {
    if cfg!(target_os = "linux") {
        fs::write("/proc/self/clear_refs", "5").unwrap();
    }
}

/// The most memory that this process has had since then.
fn peak_megabytes() -> u64 {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return 0 };
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// A GIF of one colour, whose codes stand for longer and longer rows of pixels.
fn gif_bomb(width: u16, height: u16) -> Vec<u8> {
    gif(width, height, &[GifFrame(0, 0, width, height, &vec![0; usize::from(width) * usize::from(height)])])
}

/// Bits of a lossless WebP.
#[derive(Default)]
struct Bits(Vec<u8>, u32);

impl Bits {
    fn put(&mut self, number: u32, bits: u32) {
        for bit in 0..bits {
            if self.1.is_multiple_of(8) {
                self.0.push(0);
            }
            *self.0.last_mut().unwrap() |= ((number >> bit & 1) as u8) << (self.1 % 8);
            self.1 += 1;
        }
    }

    /// A code of one symbol, 0.
    fn one_symbol(&mut self) {
        self.put(0b0001, 4);
    }

    /// A code of 256 symbols of eight bits each, said in few bits: the first length is 8, and the others are "as before".
    fn all_symbols(&mut self) {
        // Not simple; 4 + 5 lengths of lengths, in their odd order: 17, 18, 0, 1, 2, 3, 4, 5, 16.
        self.put(0, 1);
        self.put(5, 4);
        (0..8).for_each(|_| self.put(0, 3));
        // Only one symbol has a length, so it takes no bits at all: 16, "three to six times as before", which begins with 8.
        self.put(1, 3);
        // It comes 43 times (2 + 41, in 2 + 2 × 2 bits), and symbols that follow have no length: 256 is 42 × 6 + 4.
        self.put(1, 1);
        self.put(2, 3);
        self.put(41, 6);
        (0..42).for_each(|_| self.put(3, 2));
        self.put(1, 2);
    }

    fn file(self, width: u32, height: u32) -> Vec<u8> {
        let size = (width - 1) | (height - 1) << 14;
        riff(&[(b"VP8L", &[&[0x2f], size.to_le_bytes().as_slice(), &self.0].concat())])
    }
}

/// A WebP of one colour, whose pixels take no bits.
fn one_colour(width: u32, height: u32) -> Vec<u8> {
    let mut bits = Bits::default();
    // No transform, no cache, one group of codes.
    bits.put(0, 3);
    (0..5).for_each(|_| bits.one_symbol());
    bits.file(width, height)
}

/// A WebP with 65,536 groups of codes, of which each square of 4 × 4 pixels has its own.
fn many_codes() -> Vec<u8> {
    let mut bits = Bits::default();
    // No transform, no cache, groups for squares of 4 × 4 pixels; their picture has one group of codes without a cache.
    bits.put(0, 2);
    bits.put(1, 1);
    bits.put(0, 3);
    bits.put(0, 1);
    // Its colours are the groups' numbers: eight bits of green, eight of red.
    (0..2).for_each(|_| bits.all_symbols());
    (0..3).for_each(|_| bits.one_symbol());
    (0..65_536).for_each(|group| bits.put(group, 16));
    (0..65_536 * 5).for_each(|_| bits.one_symbol());
    bits.file(1024, 1024)
}

/// A progressive JPEG of 50 million pixels, of whose every scan a few bytes say "nothing new in 16,384 blocks".
fn many_scans() -> Vec<u8> {
    let mut file = Jpeg { progressive: true, ..PLAIN }.file(&scene(8, 8), 8, 8, &[]);
    let frame = file.windows(2).position(|window| window == [0xff, 0xc2]).unwrap();
    file[frame + 5..frame + 9].copy_from_slice(&[24, 0, 32, 0]);
    let scan = file.windows(2).position(|window| window == [0xff, 0xda]).unwrap();
    file.truncate(scan);
    // A code whose one symbol, of one bit, ends 16,384 blocks and as many more as the next 14 bits say: none. And one for first
    // coefficients: no difference.
    file.extend([0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe0]);
    file.extend([0xff, 0xc4, 0, 20, 0x00, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for component in 0..3 {
        file.extend([0xff, 0xda, 0, 8, 1, component, 0, 0, 0, 0]);
        file.extend(vec![0; 100_000]);
    }
    for _ in 0..97 {
        file.extend([0xff, 0xda, 0, 8, 1, 0, 0, 1, 63, 0]);
        file.extend([0; 100]);
    }
    file.extend([0xff, 0xd9]);
    file
}

/// A generator of numbers: the same ones in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides.max(1)
    }
}

#[test]
fn any_bytes_are_a_picture_or_an_error_and_nothing_else() {
    let _alone = alone();
    begin_measuring();
    let files = good_files();
    let mut dice = Dice(0x5eed);
    let mut pictures = 0;
    for round in 0..300 {
        for (name, file) in &files {
            let mut bytes = file.clone();
            // Mostly in the headers, where what is changed means most.
            let reach = if dice.roll(3) > 0 { bytes.len().min(120) } else { bytes.len() };
            for _ in 0..=dice.roll(4) {
                let place = dice.roll(reach);
                match dice.roll(5) {
                    0 => bytes[place] ^= 1 << dice.roll(8),
                    1 => bytes[place] = dice.roll(256) as u8,
                    2 => bytes[place] = [0, 0xff, 0x7f, 0x80][dice.roll(4)],
                    3 => drop(bytes.drain(place..(place + dice.roll(9)).min(reach))),
                    _ => {
                        let other = &files[dice.roll(files.len())].1;
                        let from = dice.roll(other.len());
                        let part = other[from..].iter().take(dice.roll(40)).copied();
                        bytes.splice(place..place, part);
                    }
                }
                if bytes.len() < reach {
                    break;
                }
            }
            if name.contains("png") && round % 2 == 0 {
                mend_checksums(&mut bytes);
            }
            let before = Instant::now();
            let seen = Desk::with(&bytes).render(if round % 3 == 0 { &[SMALL] } else { &[] });
            match seen {
                Ok(_) => pictures += 1,
                Err(ImageError::Unreadable(error)) => panic!("{name}: {error}"),
                Err(_) => {}
            }
            assert!(before.elapsed() < Duration::from_secs(20), "{name} took {:?}", before.elapsed());
        }
    }
    // The changes are not so wild that the decoders never see them.
    assert!(pictures > 100, "{pictures}");
    assert!(peak_megabytes() < 256, "{} MB", peak_megabytes());
}

#[test]
fn any_profile_is_applied_or_left_alone() {
    let profile = moxcms::ColorProfile::new_display_p3().encode().unwrap();
    let mut dice = Dice(0x1cc);
    for _ in 0..500 {
        let mut profile = profile.clone();
        for _ in 0..=dice.roll(3) {
            let place = dice.roll(profile.len());
            match dice.roll(3) {
                0 => profile[place] = dice.roll(256) as u8,
                1 => profile[place] = [0, 0xff, 0x7f, 0x80][dice.roll(4)],
                _ => profile.truncate(place.max(1)),
            }
        }
        if let Some(rgb) = crate::picture::in_srgb(&profile, &[200, 100, 50]) {
            assert_eq!(rgb.len(), 3);
        }
    }
}

/// Gives the chunks of a PNG their checksums, so that it is their data that is looked at.
fn mend_checksums(file: &mut Vec<u8>) {
    let mut mended = file[..file.len().min(8)].to_vec();
    let mut rest = &file[mended.len()..];
    while let Some((head, behind)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes(*head.first_chunk().unwrap()) as usize;
        let Some(data) = behind.get(..length) else { break };
        mended.extend(chunk(head.last_chunk().unwrap(), data));
        rest = behind.get(length + 4..).unwrap_or_default();
    }
    mended.extend(rest);
    *file = mended;
}
