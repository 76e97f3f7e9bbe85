//! Files of every kind come out as they look.

use image::{DynamicImage, ExtendedColorType};
use jpeg_encoder::{ColorType, SamplingFactor};

use super::{Desk, Shown, WHOLE, assert_near, decoded, difference, files::*, is_invalid, shown};
use crate::{Fit, Format, Wish, png::on_white, webp};

const CORNERS: [[u8; 3]; 4] = [RED, GREEN, BLUE, YELLOW];

fn assert_corners(shown: &Shown, wanted: [[u8; 3]; 4]) {
    assert_near(&shown.corners().concat(), &wanted.concat(), 16);
}

/// What another decoder makes of a file.
fn other_decoder(file: &[u8]) -> DynamicImage {
    image::load_from_memory(file).unwrap()
}

/// A wish that makes a picture about this many times smaller.
fn smaller(width: u32, height: u32, times: u32) -> Wish {
    Wish { width: width.div_ceil(times), height: height.div_ceil(times), ..WHOLE }
}

#[test]
fn the_bytes_say_what_a_file_is_whatever_its_name_says() {
    let pixels = corners(32, 32);
    let files = [
        (Format::Jpeg, PLAIN.file(&pixels, 32, 32, &[])),
        (Format::Png, png(&pixels, 32, 32, ExtendedColorType::Rgb8)),
        (Format::WebP, lossy(&pixels, 32, 32)),
        (Format::WebP, lossless(&with_alpha(&pixels, |_| 255), 32, 32, None)),
        (Format::Gif, gif(32, 32, &[GifFrame(0, 0, 32, 32, &corner_indexes(32, 32))])),
    ];
    for (format, file) in &files {
        for name in ["picture.jpg", "picture.png", "picture.webp", "picture.gif", "picture.html"] {
            let desk = Desk::with(&[]);
            let path = desk.0.path().join(name);
            std::fs::write(&path, file).unwrap();
            let inspected = crate::inspect(&path, &crate::Limits::default()).unwrap();
            assert_eq!(
                (inspected.format, inspected.width, inspected.height, inspected.animated),
                (*format, 32, 32, false)
            );
        }
        assert_corners(&shown(file, WHOLE), CORNERS);
    }
}

#[test]
fn jpegs_of_every_sampling_sequential_and_progressive_are_as_another_decoder_sees_them() {
    let (width, height) = (157, 93);
    let pixels = scene(width, height);
    for sampling in [
        SamplingFactor::R_4_4_4,
        SamplingFactor::R_4_2_2,
        SamplingFactor::R_4_2_0,
        SamplingFactor::R_4_4_0,
        SamplingFactor::R_4_1_1,
    ] {
        for progressive in [false, true] {
            for restart in [0, 3] {
                let file = Jpeg { progressive, sampling, restart, ..PLAIN }.file(&pixels, width, height, &[]);
                let other = other_decoder(&file).into_rgb8();
                let far = difference(&decoded(&file), &other);
                // Where colours have fewer samples, the other one blends them.
                let most = if matches!(sampling, SamplingFactor::R_4_4_4) { 0.5 } else { 6.0 };
                assert!(far < most, "{sampling:?} progressive {progressive} restart {restart}: {far}");
            }
        }
    }
}

#[test]
fn a_progressive_jpeg_with_refined_coefficients_is_as_another_decoder_sees_it() {
    // Made by libjpeg, whose script says of each coefficient first its high bits and later the low ones.
    let file = include_bytes!("refined.jpg");
    let other = other_decoder(file).into_rgb8();
    let far = difference(&decoded(file), &other);
    assert!(far < 0.5, "{far}");
}

#[test]
fn jpegs_made_smaller_while_decoding_look_like_those_made_smaller_afterwards() {
    let (width, height) = (341, 203);
    let pixels = scene(width, height);
    let whole = png(&pixels, width, height, ExtendedColorType::Rgb8);
    for times in [2, 3, 4, 8, 19] {
        let wish = smaller(width, height, times);
        let wanted = shown(&whole, wish);
        for progressive in [false, true] {
            let file =
                Jpeg { progressive, sampling: SamplingFactor::R_4_4_4, ..PLAIN }.file(&pixels, width, height, &[]);
            let got = shown(&file, wish);
            assert_eq!((got.width, got.height), (wanted.width, wanted.height));
            let far = difference(&got.rgb, &wanted.rgb);
            assert!(far < 6.0, "1/{times} progressive {progressive}: {far}");
        }
    }
}

#[test]
fn grey_and_ink_jpegs_have_their_colours() {
    let grey: Vec<u8> = corners(64, 64).chunks_exact(3).map(|pixel| pixel[0]).collect();
    for progressive in [false, true] {
        let file = Jpeg { progressive, colours: ColorType::Luma, ..PLAIN }.file(&grey, 64, 64, &[]);
        assert_corners(&shown(&file, WHOLE), CORNERS.map(|colour| [colour[0]; 3]));
        // Adobe's way, as values of 255 where there is no ink.
        let ink: Vec<u8> =
            corners(64, 64).chunks_exact(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect();
        for colours in [ColorType::Cmyk, ColorType::CmykAsYcck] {
            let file = Jpeg { progressive, colours, ..PLAIN }.file(&ink, 64, 64, &[]);
            assert!(file.windows(5).any(|window| window == b"Adobe"));
            let inverted: Vec<u8> = ink.iter().map(|value| 255 - value).collect();
            let other = Jpeg { progressive, colours, ..PLAIN }.file(&inverted, 64, 64, &[]);
            // The encoder inverts for Adobe: one of the two is the picture.
            let seen = [shown(&file, WHOLE), shown(&other, WHOLE)];
            let right = seen
                .iter()
                .filter(|seen| seen.corners().concat().iter().zip(CORNERS.concat()).all(|(a, b)| a.abs_diff(b) < 24));
            assert_eq!(right.count(), 1, "{:?}", seen.map(|seen| seen.corners()));
        }
    }
}

#[test]
fn pngs_of_every_depth_and_colour_have_their_colours() {
    let (width, height) = (40, 24);
    let rgb = corners(width, height);
    let wide: Vec<u8> = rgb.iter().flat_map(|value| [*value, 7]).collect();
    let wide_rgba: Vec<u8> = rgb.chunks_exact(3).flat_map(|p| [p[0], 1, p[1], 2, p[2], 3, 255, 255]).collect();
    let bytes = |per_pixel: usize, data: Vec<u8>| {
        move |x: u32, y: u32, step: u32| -> Vec<u8> {
            let line = &data[(y * width) as usize * per_pixel..((y + 1) * width) as usize * per_pixel];
            line.chunks_exact(per_pixel).skip(x as usize).step_by(step as usize).flatten().copied().collect()
        }
    };
    let indexes: Vec<u8> = corner_indexes(width as u16, height as u16);
    let palette = CORNERS.concat();
    for interlaced in [false, true] {
        let rows = |per_pixel, data: &[u8]| zlib(&png_rows(width, height, interlaced, bytes(per_pixel, data.to_vec())));
        let files = [
            png_of(width, height, (8, 2, interlaced), &[(b"IDAT", &rows(3, &rgb))]),
            png_of(width, height, (16, 2, interlaced), &[(b"IDAT", &rows(6, &wide))]),
            png_of(width, height, (16, 6, interlaced), &[(b"IDAT", &rows(8, &wide_rgba))]),
            png_of(width, height, (8, 6, interlaced), &[(b"IDAT", &rows(4, &with_alpha(&rgb, |_| 255)))]),
            png_of(width, height, (8, 3, interlaced), &[(b"PLTE", &palette), (b"IDAT", &rows(1, &indexes))]),
        ];
        for file in files {
            assert_corners(&shown(&file, WHOLE), CORNERS);
        }
        let see_through = png_of(
            width,
            height,
            (8, 3, interlaced),
            &[(b"PLTE", &palette), (b"tRNS", &[255, 0]), (b"IDAT", &rows(1, &indexes))],
        );
        assert_corners(&shown(&see_through, WHOLE), [RED, [255; 3], BLUE, YELLOW]);
        let grey: Vec<u8> = rgb.chunks_exact(3).map(|pixel| pixel[0]).collect();
        let file = png_of(width, height, (8, 0, interlaced), &[(b"IDAT", &rows(1, &grey))]);
        assert_corners(&shown(&file, WHOLE), CORNERS.map(|colour| [colour[0]; 3]));
    }
    // One bit a pixel: the left half black.
    let bits = png_rows(16, 2, false, |_, _, _| vec![0x00, 0xff]);
    let file = png_of(16, 2, (1, 0, false), &[(b"IDAT", &zlib(&bits))]);
    assert_near(&shown(&file, WHOLE).rgb, &[[0; 24], [255; 24], [0; 24], [255; 24]].concat(), 12);
}

#[test]
fn an_interlaced_png_made_smaller_is_the_same_as_one_that_is_not_interlaced() {
    let (width, height) = (203, 151);
    let pixels = scene(width, height);
    let row = |x: u32, y: u32, step: u32| -> Vec<u8> {
        let line = &pixels[(y * width * 3) as usize..((y + 1) * width * 3) as usize];
        line.chunks_exact(3).skip(x as usize).step_by(step as usize).flatten().copied().collect()
    };
    for wish in [WHOLE, smaller(width, height, 3), Wish { width: 20, height: 31, fit: Fit::Cover, quality: 90.0 }] {
        let [one, other] = [false, true].map(|interlaced| {
            let data = zlib(&png_rows(width, height, interlaced, row));
            shown(&png_of(width, height, (8, 2, interlaced), &[(b"IDAT", &data)]), wish).rgb
        });
        assert_eq!(one, other);
    }
}

#[test]
fn what_is_transparent_is_white() {
    let rgb = corners(64, 64);
    let half = |index: usize| if index % 64 < 32 { 128 } else { 0 };
    let rgba = with_alpha(&rgb, half);
    let pale = |colour: [u8; 3]| colour.map(|value| value / 2 + 127);
    let wanted = [pale(RED), [255; 3], pale(BLUE), [255; 3]];
    let files = [
        png(&rgba, 64, 64, ExtendedColorType::Rgba8),
        lossless(&rgba, 64, 64, None),
        webp::libwebp::encode_rgba(&rgba, 64, 64, false),
        webp::libwebp::encode_rgba(&rgba, 64, 64, true),
    ];
    for file in files {
        for wish in [WHOLE, smaller(64, 64, 3)] {
            assert_corners(&shown(&file, wish), wanted);
        }
    }
    let grey = png(&[10, 0, 10, 255], 2, 1, ExtendedColorType::La8);
    assert_near(&shown(&grey, WHOLE).rgb, &[255, 255, 255, 10, 10, 10], 12);
}

#[test]
fn lossless_webps_are_pixel_for_pixel_as_another_decoder_sees_them() {
    // One colour, few colours (which share pixels), many colours, and transparency; widths that leave parts of squares.
    let few = |count: usize| move |index: usize| [(index * 37 % count) as u8, (index / 5 % count * 20) as u8, 90, 255];
    for (width, height) in [(1, 1), (1, 40), (67, 1), (53, 41), (300, 200)] {
        let count = (width * height) as usize;
        let mut pictures: Vec<Vec<u8>> =
            [1, 2, 4, 16, 90].into_iter().map(|colours| (0..count).flat_map(few(colours)).collect()).collect();
        pictures.push(with_alpha(&scene(width, height), |_| 255));
        pictures.push(with_alpha(&scene(width, height), |index| (index % 251) as u8));
        for rgba in pictures {
            for file in [webp::libwebp::encode_rgba(&rgba, width, height, true), lossless(&rgba, width, height, None)] {
                let other = other_decoder(&file).into_rgba8();
                let white = |[red, green, blue, alpha]: [u8; 4]| [red, green, blue].map(|value| on_white(value, alpha));
                let wanted: Vec<u8> = other.pixels().flat_map(|pixel| white(pixel.0)).collect();
                assert!(decoded(&file) == wanted, "{width} × {height}");
            }
        }
    }
}

#[test]
fn the_transparency_of_lossy_webps_is_as_another_decoder_sees_it() {
    let (width, height) = (75, 60);
    // Black: what is seen of it on white is its transparency.
    let black = vec![0; 75 * 60 * 3];
    for alpha in [|index: usize| (index % 75 * 3) as u8, |index: usize| (index * index % 253) as u8] {
        let file = webp::libwebp::encode_rgba(&with_alpha(&black, alpha), width, height, false);
        let seen: Vec<u8> = other_decoder(&file).into_rgba8().pixels().map(|pixel| pixel[3]).collect();
        let wanted: Vec<u8> = seen.iter().flat_map(|alpha| [255 - alpha; 3]).collect();
        assert_near(&decoded(&file), &wanted, 2);
        // The same, not compressed, with each of the filters.
        let raw = |filter: u8| {
            let at = |x: usize, y: usize| seen[y * 75 + x];
            let mut chunk = vec![filter << 2];
            for (y, x) in (0..60).flat_map(|y| (0..75).map(move |x| (y, x))) {
                let guess =
                    match (filter, x, y) {
                        (0, ..) | (_, 0, 0) => 0,
                        (1, 0, _) | (2, _, 1..) | (3, 0, _) => at(x, y - 1),
                        (1, ..) | (2, _, 0) | (3, _, 0) => at(x - 1, y),
                        _ => (i16::from(at(x - 1, y)) + i16::from(at(x, y - 1)) - i16::from(at(x - 1, y - 1)))
                            .clamp(0, 255) as u8,
                    };
                chunk.push(at(x, y).wrapping_sub(guess));
            }
            chunk
        };
        for filter in 0..4 {
            let again = riff(&[
                (b"VP8X", &extended(0x10, width, height)),
                (b"ALPH", &raw(filter)),
                (b"VP8 ", chunk_of(&file, b"VP8 ")),
            ]);
            assert!(decoded(&again) == decoded(&file), "filter {filter}");
        }
    }
}

#[test]
fn lossy_webps_made_smaller_while_decoding_look_like_those_made_smaller_afterwards() {
    let (width, height) = (341, 203);
    let pixels = scene(width, height);
    let (file, whole) = (lossy(&pixels, width, height), png(&pixels, width, height, ExtendedColorType::Rgb8));
    for times in [2, 5, 30] {
        let wish = smaller(width, height, times);
        let far = difference(&shown(&file, wish).rgb, &shown(&whole, wish).rgb);
        assert!(far < 6.0, "1/{times}: {far}");
    }
}

#[test]
fn of_animations_the_first_frame_is_shown() {
    let first = corner_indexes(32, 32);
    let files = [
        gif(32, 32, &[GifFrame(0, 0, 32, 32, &first), GifFrame(0, 0, 32, 32, &[3; 1024])]),
        {
            let frames = [lossy(&corners(32, 32), 32, 32), lossy(&[9; 3072], 32, 32)];
            let frames = frames.map(|frame| animation_frame(&frame, (0, 0), (32, 32)));
            riff(&[(b"VP8X", &extended(2, 32, 32)), (b"ANIM", &[0; 6]), (b"ANMF", &frames[0]), (b"ANMF", &frames[1])])
        },
        {
            let control = [0u32.to_be_bytes(), 32u32.to_be_bytes(), 32u32.to_be_bytes(), [0; 4], [0; 4]].concat();
            let control = [control, vec![0, 1, 0, 10, 0, 0]].concat();
            let later = [&[0, 0, 0, 1], &control[4..]].concat();
            let data = |rgb: &[u8]| zlib(&png_rows(32, 32, false, |_, y, _| rgb[y as usize * 96..][..96].to_vec()));
            let second = [&[0, 0, 0, 2], data(&[9; 3072]).as_slice()].concat();
            png_of(
                32,
                32,
                (8, 2, false),
                &[
                    (b"acTL", &[0, 0, 0, 2, 0, 0, 0, 0]),
                    (b"fcTL", &control),
                    (b"IDAT", &data(&corners(32, 32))),
                    (b"fcTL", &later),
                    (b"fdAT", &second),
                ],
            )
        },
    ];
    for file in files {
        assert!(Desk::with(&file).inspect().unwrap().animated);
        assert_corners(&shown(&file, WHOLE), CORNERS);
    }
}

#[test]
fn a_first_frame_that_is_smaller_than_the_picture_lies_on_white() {
    let wanted = [[255; 3], [255; 3], [255; 3], YELLOW];
    let moving = gif(40, 40, &[GifFrame(24, 24, 16, 16, &[3; 256])]);
    assert_corners(&shown(&moving, WHOLE), wanted);
    let yellow = YELLOW.repeat(256);
    for frame in [lossy(&yellow, 16, 16), lossless(&with_alpha(&yellow, |_| 255), 16, 16, None)] {
        let frame = animation_frame(&frame, (24, 24), (16, 16));
        let file = riff(&[(b"VP8X", &extended(2, 40, 40)), (b"ANIM", &[0; 6]), (b"ANMF", &frame)]);
        assert_corners(&shown(&file, WHOLE), wanted);
        assert_corners(&shown(&file, smaller(40, 40, 2)), wanted);
    }
    // The smallest there is, in a picture that is made sixteen times smaller.
    let dot = animation_frame(&lossy(&[0; 12], 2, 2), (24, 24), (2, 2));
    let file = riff(&[(b"VP8X", &extended(2, 400, 400)), (b"ANIM", &[0; 6]), (b"ANMF", &dot)]);
    let wish = Wish { width: 16, height: 24, fit: Fit::Cover, quality: 90.0 };
    assert_corners(&shown(&file, wish), [[255; 3]; 4]);
    // One that juts out of the screen is refused, and transparent pixels show white.
    let jutting = gif(40, 40, &[GifFrame(24, 24, 30, 30, &[2; 900])]);
    assert!(is_invalid(Desk::with(&jutting).render(&[WHOLE])));
    let see_through = gif(40, 40, &[GifFrame(0, 0, 40, 40, &[4; 1600])]);
    assert_corners(&shown(&see_through, WHOLE), [[255; 3]; 4]);
}

#[test]
fn an_interlaced_gif_has_its_rows_in_order() {
    let mut file = Vec::new();
    let mut encoder = gif::Encoder::new(&mut file, 4, 22, &[RED, GREEN, BLUE, YELLOW].concat()).unwrap();
    let order = (0..22).step_by(8).chain((4..22).step_by(8)).chain((2..22).step_by(4)).chain((1..22).step_by(2));
    let indexes: Vec<u8> = order.flat_map(|y: u8| [u8::from(y >= 11) * 2; 4]).collect();
    let mut frame = gif::Frame::from_indexed_pixels(4, 22, indexes, None);
    frame.interlaced = true;
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    assert_corners(&shown(&file, WHOLE), [RED, RED, BLUE, BLUE]);
}
