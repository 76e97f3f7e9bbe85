//! Where Stripe's pages may send people: to pages of ours, and nowhere else.

use url::{Position, Url};

/// Stripe takes 5,000 characters, as they are encoded; nobody needs that many.
const MAX_LENGTH: usize = 2_000;

/// The origins that our pages have.
#[derive(Clone, Debug)]
pub struct Site {
    first: Url,
    others: Vec<Url>,
}

/// Why nobody is sent to a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReturnUrlError {
    /// It is none.
    #[error("is not a URL")]
    Invalid,
    /// It leads elsewhere.
    #[error("must be a page of this site")]
    NotAllowed,
}

impl ReturnUrlError {
    /// A stable code for API errors.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotAllowed => "not_allowed",
        }
    }
}

impl Site {
    /// Of origins such as `https://example.com`, the first of which is the default; `None` when there is none, or one that
    /// is more than an origin.
    #[must_use]
    pub fn of(origins: &[String]) -> Option<Self> {
        let parse = |text: &String| {
            let url = Url::parse(text).ok()?;
            (matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == *text).then_some(url)
        };
        let mut origins = origins.iter().map(parse).collect::<Option<Vec<_>>>()?.into_iter();
        Some(Self { first: origins.next()?, others: origins.collect() })
    }

    /// A page of ours on the first origin: `/path`, or with a query.
    #[must_use]
    pub fn page(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.first.clone();
        url.set_path(path);
        url.set_query(query);
        url
    }

    /// Parses a URL that a client gave. It must be on one of our origins to the letter: scheme, host and port.
    ///
    /// # Errors
    /// When it is no URL, or leads elsewhere.
    pub fn parse(&self, text: &str) -> Result<Url, ReturnUrlError> {
        let url = Url::parse(text).map_err(|_| ReturnUrlError::Invalid)?;
        // Parsers differ in what they make of these; the URL that was meant has none.
        let doubtful = text.contains(|c: char| c == '\\' || c.is_control() || c.is_whitespace());
        if doubtful || url.as_str().len() > MAX_LENGTH {
            return Err(ReturnUrlError::Invalid);
        }
        // Scheme, user, host and port. Url::origin() does not do: it calls blob:https://example.com/x one of ours.
        let start = &url[..Position::BeforePath];
        let mut origins = [&self.first].into_iter().chain(&self.others);
        let ours = origins.any(|origin| &origin[..Position::BeforePath] == start);
        if ours { Ok(url) } else { Err(ReturnUrlError::NotAllowed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_an_origin_at_least_and_nothing_but_origins() {
        let of = |origins: &[&str]| Site::of(&origins.iter().map(|&origin| origin.to_owned()).collect::<Vec<_>>());
        assert!(of(&["https://example.com", "http://127.0.0.1:3000", "https://example.com:8443"]).is_some());
        for none in [
            &[][..],
            &["example.com"],
            &["https://example.com/"],
            &["https://example.com/app"],
            &["https://example.com:443"],
            &["https://user@example.com"],
            &["ftp://example.com"],
            &["*"],
            &["https://example.com", "null"],
        ] {
            assert!(of(none).is_none(), "{none:?}");
        }
    }

    #[test]
    fn pages_are_on_the_first_origin() {
        let site = Site::of(&["https://a.example".to_owned(), "https://b.example".to_owned()]).unwrap();
        assert_eq!(site.page("/dashboard", None).as_str(), "https://a.example/dashboard");
        assert_eq!(site.page("/dashboard", Some("x=1")).as_str(), "https://a.example/dashboard?x=1");
        assert!(site.parse("https://b.example/x").is_ok() && site.parse("https://c.example/x").is_err());
    }

    #[test]
    fn a_url_is_as_long_as_stripe_gets_it() {
        let site = Site::of(&["https://a.example".to_owned()]).unwrap();
        let page = |letter: &str| site.parse(&format!("https://a.example/{}", letter.repeat(900)));
        assert!(page("e").is_ok());
        assert_eq!(page("é"), Err(ReturnUrlError::Invalid), "six characters each");
    }
}
