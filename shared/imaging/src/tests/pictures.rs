//! The pictures that are made have the size that was wished, stand upright and carry nothing else.

use std::fs;

use image::ExtendedColorType;
use moxcms::ColorProfile;

use super::{Desk, WHOLE, assert_near, difference, files::*, shown};
use crate::{Fit, Wish};

const PLACE: &[u8] = b"47.3769 N 8.5417 E";

#[test]
fn pictures_have_the_size_that_was_wished_and_are_never_enlarged() {
    let file = png(&scene(300, 200), 300, 200, ExtendedColorType::Rgb8);
    let size = |width, height, fit| {
        let picture = shown(&file, Wish { width, height, fit, quality: 80.0 });
        (picture.width, picture.height)
    };
    assert_eq!(size(150, 150, Fit::Within), (150, 100));
    assert_eq!(size(30, 10, Fit::Within), (15, 10));
    assert_eq!(size(2048, 2048, Fit::Within), (300, 200));
    assert_eq!(size(40, 60, Fit::Cover), (40, 60));
    assert_eq!(size(290, 20, Fit::Cover), (290, 20));
    assert_eq!(size(1024, 1536, Fit::Cover), (133, 200));
    let thin = png(&scene(600, 1), 600, 1, ExtendedColorType::Rgb8);
    let picture = shown(&thin, Wish { width: 100, height: 100, fit: Fit::Within, quality: 80.0 });
    assert_eq!((picture.width, picture.height), (100, 1));
}

#[test]
fn what_covers_is_the_middle() {
    let thirds: Vec<u8> = (0..40).flat_map(|_| [RED.repeat(40), GREEN.repeat(40), BLUE.repeat(40)].concat()).collect();
    let wish = Wish { width: 20, height: 20, fit: Fit::Cover, quality: 95.0 };
    for file in
        [png(&thirds, 120, 40, ExtendedColorType::Rgb8), PLAIN.file(&thirds, 120, 40, &[]), lossy(&thirds, 120, 40)]
    {
        let picture = shown(&file, wish);
        let inside = [picture.at(2, 2), picture.at(17, 2), picture.at(2, 17), picture.at(17, 17)];
        assert_near(&inside.concat(), &GREEN.repeat(4), 20);
    }
}

#[test]
fn every_wish_gets_its_picture_in_its_place() {
    let desk = Desk::with(&PLAIN.file(&corners(200, 300), 200, 300, &[]));
    let screen = Wish { width: 100, height: 150, fit: Fit::Cover, quality: 80.0 };
    let rendered = desk.render(&[screen, Wish { width: 32, height: 48, ..screen }, WHOLE]).unwrap();
    let sizes: Vec<_> = rendered.files.iter().map(|picture| (picture.width, picture.height)).collect();
    assert_eq!(sizes, [(100, 150), (32, 48), (200, 300)]);
    let names: Vec<_> = rendered.files.iter().map(|picture| picture.path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["0.webp", "1.webp", "2.webp"]);
    // Without a wish it is only decoded.
    assert!(desk.render(&[]).unwrap().files.is_empty());
}

#[test]
fn pictures_are_turned_as_the_camera_was_held() {
    let stored = corners(96, 64);
    let upright = [
        [RED, GREEN, BLUE, YELLOW],
        [GREEN, RED, YELLOW, BLUE],
        [YELLOW, BLUE, GREEN, RED],
        [BLUE, YELLOW, RED, GREEN],
        [RED, BLUE, GREEN, YELLOW],
        [BLUE, RED, YELLOW, GREEN],
        [YELLOW, GREEN, BLUE, RED],
        [GREEN, YELLOW, RED, BLUE],
    ];
    for (orientation, wanted) in (1..).zip(upright) {
        for big in [false, true] {
            let exif = exif(orientation, big);
            let segment = [b"Exif\0\0", exif.as_slice()].concat();
            let rows = zlib(&png_rows(96, 64, false, |_, y, _| stored[y as usize * 288..][..288].to_vec()));
            let rgba = with_alpha(&stored, |_| 255);
            let files = [
                PLAIN.file(&stored, 96, 64, &[(1, &segment)]),
                png_of(96, 64, (8, 2, false), &[(b"eXIf", &exif), (b"IDAT", &rows)]),
                lossless(&rgba, 96, 64, Some(exif.clone())),
                riff(&[
                    (b"VP8X", &extended(8, 96, 64)),
                    (b"VP8 ", chunk_of(&lossy(&stored, 96, 64), b"VP8 ")),
                    (b"EXIF", &segment),
                ]),
            ];
            for file in files {
                let picture = shown(&file, WHOLE);
                assert_eq!((picture.width, picture.height), if orientation > 4 { (64, 96) } else { (96, 64) });
                assert_near(&picture.corners().concat(), &wanted.concat(), 16);
                // The wish is for the upright picture: a tall middle of it has all four colours.
                let tall = shown(&file, Wish { width: 16, height: 32, fit: Fit::Cover, quality: 95.0 });
                assert_eq!((tall.width, tall.height), (16, 32));
                assert_near(&tall.corners().concat(), &wanted.concat(), 24);
            }
        }
    }
}

#[test]
fn broken_exif_does_no_harm() {
    let good = [b"Exif\0\0", exif(6, false).as_slice()].concat();
    let mut broken: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
    broken.extend((6..good.len()).flat_map(|place| {
        [0, 9, 0x80, 0xff].map(|value| {
            let mut broken = good.clone();
            broken[place] = value;
            broken
        })
    }));
    for exif in broken {
        let picture = shown(&PLAIN.file(&corners(32, 16), 32, 16, &[(1, &exif)]), WHOLE);
        assert!([(32, 16), (16, 32)].contains(&(picture.width, picture.height)));
    }
}

#[test]
fn nothing_that_the_file_carried_is_in_what_is_served() {
    let exif = [b"Exif\0\0", exif(1, true).as_slice(), PLACE].concat();
    let xmp = [b"http://ns.adobe.com/xap/1.0/\0", PLACE].concat();
    let profile = [b"ICC_PROFILE\0\x01\x01", PLACE].concat();
    let pixels = corners(32, 32);
    let rows = zlib(&png_rows(32, 32, false, |_, y, _| pixels[y as usize * 96..][..96].to_vec()));
    let text = [b"Comment\0", PLACE].concat();
    let vp8 = lossy(&pixels, 32, 32);
    let files = [
        [PLAIN.file(&pixels, 32, 32, &[(1, &exif), (1, &xmp), (2, &profile), (13, PLACE)]), PLACE.to_vec()].concat(),
        png_of(32, 32, (8, 2, false), &[(b"eXIf", &exif), (b"tEXt", &text), (b"IDAT", &rows), (b"iTXt", PLACE)]),
        riff(&[
            (b"VP8X", &extended(0x2c, 32, 32)),
            (b"ICCP", PLACE),
            (b"VP8 ", chunk_of(&vp8, b"VP8 ")),
            (b"EXIF", &exif),
            (b"XMP ", &xmp),
        ]),
    ];
    for file in files {
        assert!(file.windows(PLACE.len()).any(|window| window == PLACE));
        let desk = Desk::with(&file);
        let made = fs::read(&desk.render(&[WHOLE]).unwrap().files[0].path).unwrap();
        assert!(!made.windows(PLACE.len()).any(|window| window == PLACE));
        // One chunk, which is the picture, and nothing behind it.
        assert_eq!(&made[8..16], b"WEBPVP8 ");
        let length = u32::from_le_bytes(*made[16..].first_chunk().unwrap()) as usize;
        assert_eq!(made.len(), 20 + length + length % 2);
    }
}

#[test]
fn colours_of_another_space_become_those_of_srgb() {
    let pixels = [200, 100, 50].repeat(64);
    let segment = |profile: &[u8]| [b"ICC_PROFILE\0\x01\x01", profile].concat();
    let wide = ColorProfile::new_display_p3().encode().unwrap();
    let converted = shown(&PLAIN.file(&pixels, 8, 8, &[(2, &segment(&wide))]), WHOLE).at(4, 4);
    assert_near(&converted, &[212, 94, 31], 10);
    let mut broken = wide.clone();
    broken[100..200].fill(0xff);
    for profile in [broken.as_slice(), &wide[..200], b"", &ColorProfile::new_gray_with_gamma(2.2).encode().unwrap()] {
        let kept = shown(&PLAIN.file(&pixels, 8, 8, &[(2, &segment(profile))]), WHOLE).at(4, 4);
        assert_near(&kept, &[200, 100, 50], 10);
    }
}

#[test]
fn the_blurhash_is_near_what_the_picture_looks_like() {
    let desk = Desk::with(&PLAIN.file(&corners(120, 180), 120, 180, &[]));
    let hash = desk.render(&[Wish { width: 64, height: 96, fit: Fit::Cover, quality: 80.0 }]).unwrap().blurhash;
    let rgba = blurhash::decode(&hash, 24, 36, 1.0).unwrap();
    let at = |x: usize, y: usize| &rgba[(y * 24 + x) * 4..][..3];
    for (colour, place) in [(RED, at(4, 6)), (GREEN, at(19, 6)), (BLUE, at(4, 29)), (YELLOW, at(19, 29))] {
        let far = |other: &[u8; 3]| difference(place, other) as u32;
        assert_eq!([RED, GREEN, BLUE, YELLOW].into_iter().min_by_key(far), Some(colour));
    }
    let flat = Desk::with(&png(&[90, 120, 150].repeat(100), 10, 10, ExtendedColorType::Rgb8));
    let hash = flat.render(&[WHOLE]).unwrap().blurhash;
    assert!(difference(&blurhash::decode(&hash, 16, 16, 1.0).unwrap(), &[90, 120, 150, 255].repeat(256)) < 5.0);
}
