//! Fetches what a stranger's URL leads to, under invariant I4.
//!
//! Only https on port 443, only allowed hosts by name, only public addresses (checked where the connection is made, so a
//! name cannot resolve to one address for the check and to another for the connection), redirects only to what would be
//! allowed as a first URL, a size limit counted on the bytes that really come, and time limits for stalls and for the whole.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use futures_util::StreamExt;
use lambda_kit::metrics;
use reqwest::{
    Client, StatusCode,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use url::{Host, Origin, Url};

use crate::{Upstream, send};

/// Redirects followed before giving up.
const MAX_REDIRECTS: usize = 3;

/// Which URLs may be fetched, and how much of them.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Allowed hosts: each name itself and everything below it.
    pub hosts: Vec<String>,
    /// Development only: one origin on loopback that may be fetched over plain http.
    pub local_origin: Option<Url>,
    /// Most bytes of a body.
    pub max_bytes: u64,
    /// Longest silence of the other side.
    pub stall: Duration,
    /// Longest time for the whole fetch.
    pub total: Duration,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL, a redirect of it or the address of its host is not allowed. Trying again cannot help.
    #[error("not allowed: {0}")]
    NotAllowed(&'static str),
    /// The other side says that there is nothing (any 4xx but 408, 425 and 429). Trying again cannot help.
    #[error("the other side answered {0}")]
    Gone(StatusCode),
    /// More bytes than allowed. Trying again cannot help.
    #[error("larger than {0} bytes")]
    TooLarge(u64),
    /// Worth another try: a connection error, a timeout, a 5xx, a 429.
    #[error("could not be fetched now")]
    Unavailable(#[source] anyhow::Error),
    /// What came could not be written down here.
    #[error("could not be written")]
    Sink(#[source] std::io::Error),
}

/// A client for strangers' URLs.
#[derive(Clone, Debug)]
pub struct Guarded {
    client: Client,
    policy: Policy,
}

impl Guarded {
    /// Builds the client.
    ///
    /// # Errors
    /// When `local_origin` is not on loopback, or the TLS configuration is refused.
    pub fn new(policy: Policy) -> anyhow::Result<Self> {
        if let Some(origin) = &policy.local_origin {
            let on_loopback = match origin.host() {
                Some(Host::Ipv4(ip)) => ip.is_loopback(),
                Some(Host::Ipv6(ip)) => ip.is_loopback(),
                _ => false,
            };
            anyhow::ensure!(on_loopback, "the local origin {origin} is not a loopback address");
        }
        let hops = policy.clone();
        let client = crate::builder()?
            .redirect(redirect::Policy::custom(move |attempt| {
                if attempt.previous().len() > MAX_REDIRECTS {
                    attempt.error(FetchError::NotAllowed("too many redirects"))
                } else if let Err(reason) = hops.check(attempt.url()) {
                    attempt.error(FetchError::NotAllowed(reason))
                } else {
                    attempt.follow()
                }
            }))
            .dns_resolver(PublicAddresses)
            .timeout(policy.total)
            .read_timeout(policy.stall)
            .build()?;
        Ok(Self { client, policy })
    }

    /// Streams the body of `url` into `sink` in constant memory; answers the number of bytes.
    ///
    /// # Errors
    /// A [`FetchError`]; what the sink then holds is to be thrown away.
    pub async fn fetch(&self, url: &str, sink: &mut (impl AsyncWrite + Unpin)) -> Result<u64, FetchError> {
        let fetched = self.bring(url, sink).await;
        if let Err(FetchError::NotAllowed(_)) = fetched {
            metrics::count("UrlsRefused", 1);
        }
        fetched
    }

    async fn bring(&self, url: &str, sink: &mut (impl AsyncWrite + Unpin)) -> Result<u64, FetchError> {
        let url = Url::parse(url).map_err(|_| FetchError::NotAllowed("not a URL"))?;
        self.policy.check(&url).map_err(FetchError::NotAllowed)?;

        let response = send(Upstream::Pictures, self.client.get(url)).await.map_err(classify)?;
        let status = response.status();
        match status.as_u16() {
            200 => {}
            408 | 425 | 429 | 500..=599 => {
                return Err(FetchError::Unavailable(anyhow::anyhow!("the other side answered {status}")));
            }
            400..=499 => return Err(FetchError::Gone(status)),
            _ => return Err(FetchError::NotAllowed("an answer that is neither a body nor an error")),
        }
        let max = self.policy.max_bytes;
        if response.content_length().is_some_and(|length| length > max) {
            return Err(FetchError::TooLarge(max));
        }

        let mut received = 0;
        let mut body = response.bytes_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(classify)?;
            received += chunk.len() as u64;
            if received > max {
                return Err(FetchError::TooLarge(max));
            }
            sink.write_all(&chunk).await.map_err(FetchError::Sink)?;
        }
        sink.flush().await.map_err(FetchError::Sink)?;
        Ok(received)
    }
}

impl Policy {
    /// Checks `url` before anything is sent.
    ///
    /// # Errors
    /// Says why it may not be fetched.
    pub fn check(&self, url: &Url) -> Result<(), &'static str> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err("credentials in the URL");
        }
        if self.is_local(&url.origin()) {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err("not https");
        }
        if url.port().is_some() {
            return Err("a port other than 443");
        }
        // An address in any notation (decimal, octal, mapped) is an address after parsing: only names are allowed.
        let Some(Host::Domain(host)) = url.host() else { return Err("an address instead of a name") };
        // Some that the URL standard lets into a name cannot be sent.
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
            return Err("a host that is no name");
        }
        let allowed = self.hosts.iter().any(|suffix| {
            host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        if allowed { Ok(()) } else { Err("host not allowed") }
    }

    fn is_local(&self, origin: &Origin) -> bool {
        self.local_origin.as_ref().is_some_and(|local| local.origin() == *origin)
    }
}

/// What went wrong in reqwest: our own refusal (from a redirect or the resolver), or something that may pass.
fn classify(error: reqwest::Error) -> FetchError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(FetchError::NotAllowed(reason)) = inner.downcast_ref::<FetchError>() {
            return FetchError::NotAllowed(reason);
        }
        cause = inner.source();
    }
    // Its display would repeat the URL, which may carry a signature.
    FetchError::Unavailable(error.without_url().into())
}

/// Resolves names as the system does, and refuses a name with any address that is not public.
struct PublicAddresses;

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if found.iter().any(|address| !is_public(address.ip())) {
                return Err(FetchError::NotAllowed("the name resolves to an address that is not public").into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the open internet (IANA's special-purpose registries, RFC 6890 and its updates).
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public_v4(ip),
            None => is_public_v6(ip),
        },
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224 // multicast, reserved, broadcast
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT
        || (a, b, c) == (192, 0, 0) // protocol assignments
        || (a, b, c) == (192, 88, 99) // 6to4 relays
        || (a == 198 && (b == 18 || b == 19))) // benchmarks
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    a & 0xe000 == 0x2000 // 2000::/3, the only range in global use
        && !(a == 0x2001 && b < 0x0200) // protocol assignments, Teredo among them
        && !(a == 0x2001 && b == 0x0db8) // documentation
        && a != 0x2002 // 6to4, which carries any IPv4 address
        && !(a == 0x3fff && b < 0x1000) // documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            hosts: vec!["replicate.delivery".to_owned()],
            local_origin: None,
            max_bytes: 1,
            stall: Duration::from_secs(1),
            total: Duration::from_secs(1),
        }
    }

    #[test]
    fn only_https_urls_on_allowed_host_names_pass() {
        for url in
            ["https://replicate.delivery/a", "https://pbxt.replicate.delivery/a?b=c", "https://REPLICATE.delivery:443/"]
        {
            assert_eq!(policy().check(&url.parse().unwrap()), Ok(()), "{url}");
        }
        for url in [
            "http://replicate.delivery/a",
            "ftp://replicate.delivery/a",
            "file:///etc/passwd",
            "data:image/png;base64,AAAA",
            "https://replicate.delivery:8443/a",
            "https://evilreplicate.delivery/a",
            "https://replicate.delivery.evil.com/a",
            "https://replicate.delivery./a",
            "https://a`b.replicate.delivery/a",
            "https://a{b}.replicate.delivery/a",
            "https://evil.com/replicate.delivery",
            "https://replicate.delivery@evil.com/a",
            "https://user:password@replicate.delivery/a",
            "https://evil.com#.replicate.delivery",
            "https://evil.com\\.replicate.delivery",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fd00::1]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://localhost/",
            "https://10.0.0.1/",
        ] {
            assert!(policy().check(&url.parse().unwrap()).is_err(), "{url}");
        }
    }

    #[test]
    fn the_local_origin_is_exact_and_on_loopback() {
        let local = Policy { local_origin: Some("http://127.0.0.1:4010".parse().unwrap()), ..policy() };
        assert_eq!(local.check(&"http://127.0.0.1:4010/files/a".parse().unwrap()), Ok(()));
        for url in
            ["http://127.0.0.1:4011/", "https://127.0.0.1:4010/", "http://localhost:4010/", "http://x@127.0.0.1:4010/"]
        {
            assert!(local.check(&url.parse().unwrap()).is_err(), "{url}");
        }
        for origin in ["http://10.0.0.1:80", "http://localhost:4010", "http://169.254.169.254"] {
            let elsewhere = Policy { local_origin: Some(origin.parse().unwrap()), ..policy() };
            assert!(Guarded::new(elsewhere).is_err(), "{origin}");
        }
    }

    #[test]
    fn special_addresses_are_not_public() {
        for ip in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "100::1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "8.8.8.8", "104.18.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
    }
}
