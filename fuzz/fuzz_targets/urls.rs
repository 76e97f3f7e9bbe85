//! URLs of strangers: what may be fetched, and where people are sent back to after paying.
//!
//! - What may be fetched is https, on an allowed host, on port 443, without credentials, and reads the same to another parser.
//!   That goes for a redirect, too.
//! - An address that counts as public lies in none of IANA's ranges for something else.
//! - A return URL is on our site to the letter, and parses to itself.
//!
//! The input's first line is a URL, the second where it redirects to. The input's last bytes are addresses, too.

#![no_main]

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
    time::Duration,
};

use fuzz::SITE;
use http_client::guarded::{Policy, is_public};
use lambda_http::http::Uri;
use libfuzzer_sys::fuzz_target;
use stripe_client::Site;
use url::Url;

const ALLOWED: &str = "replicate.delivery";

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy {
    hosts: vec![ALLOWED.to_owned()],
    local_origin: None,
    max_bytes: 1,
    stall: Duration::from_secs(1),
    total: Duration::from_secs(1),
});

static OUR_SITE: LazyLock<Site> = LazyLock::new(|| Site::of(&[SITE.to_owned()]).expect("a site"));

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>, and multicast.
const SPECIAL_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::new(255, 255, 255, 255), 32),
];

/// <https://www.iana.org/assignments/iana-ipv6-special-registry>, multicast, and what was once site-local.
const SPECIAL_V6: [(Ipv6Addr, u32); 14] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

fuzz_target!(|data: &[u8]| {
    if let Some(bytes) = data.last_chunk::<4>() {
        address_v4(Ipv4Addr::from(*bytes));
    }
    if let Some(bytes) = data.last_chunk::<16>() {
        let ip = Ipv6Addr::from(*bytes);
        let special = SPECIAL_V6.iter().any(|(net, bits)| (ip.to_bits() ^ net.to_bits()).leading_zeros() >= *bits);
        assert!(!(is_public(IpAddr::V6(ip)) && special), "{ip} counts as public");
    }
    let Ok(text) = str::from_utf8(data) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    return_url(first);
    let Ok(url) = Url::parse(first) else { return };
    fetched(&url);
    if let Ok(next) = url.join(second) {
        fetched(&next);
    }
});

fn address_v4(ip: Ipv4Addr) {
    let special = SPECIAL_V4.iter().any(|(net, bits)| (ip.to_bits() ^ net.to_bits()).leading_zeros() >= *bits);
    assert!(!(is_public(IpAddr::V4(ip)) && special), "{ip} counts as public");
    assert_eq!(is_public(IpAddr::V4(ip)), is_public(IpAddr::V6(ip.to_ipv6_mapped())), "{ip}, mapped or not");
}

fn fetched(url: &Url) {
    if POLICY.check(url).is_err() {
        return;
    }
    // As it goes on the wire.
    let wire: Uri = url.as_str().parse().unwrap_or_else(|error| panic!("{url} may be fetched and is no URI: {error}"));
    assert_eq!(wire.scheme_str(), Some("https"), "{url}");
    let authority = wire.authority().unwrap_or_else(|| panic!("{url} may be fetched and names no host")).as_str();
    let name = authority.strip_suffix(ALLOWED).unwrap_or_else(|| panic!("{url} may be fetched from {authority}"));
    assert!(name.is_empty() || name.ends_with('.'), "{url} may be fetched from {authority}");
    assert!(!authority.contains(['@', ':', '/', '\\', '%']), "{url} may be fetched from {authority}");
    assert!(authority.parse::<IpAddr>().is_err(), "{url} is an address");
    let again: Url = url.as_str().parse().unwrap_or_else(|error| panic!("{url} is none when read again: {error}"));
    assert_eq!(*url, again);
}

fn return_url(text: &str) {
    let Ok(url) = OUR_SITE.parse(text) else { return };
    let rest = url.as_str().strip_prefix(SITE).unwrap_or_else(|| panic!("{text} leads to {url}"));
    assert!(rest.starts_with('/'), "{text} leads to {url}");
    assert_eq!(OUR_SITE.parse(url.as_str()), Ok(url.clone()), "{text} is another one when read again");
    // A browser that knows nothing of WHATWG would go to the same place.
    let wire: Uri = url[..url::Position::AfterQuery].parse().unwrap_or_else(|error| panic!("{url} is no URI: {error}"));
    assert_eq!(wire.authority().map(|authority| authority.as_str()), SITE.strip_prefix("https://"), "{url}");
}
