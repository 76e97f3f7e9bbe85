//! The public grid: its two orders, places in them, and why a picture may be reported.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::id::ImageId;

/// What comes first in the grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The newest.
    #[default]
    New,
    /// The most liked.
    Top,
}

impl Order {
    /// The order of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "new" => Some(Self::New),
            "top" => Some(Self::Top),
            _ => None,
        }
    }
}

/// A place in the grid: that of the last picture of a page, after which the next page begins. A text for clients, who make
/// nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// How many liked it, in [`Order::Top`]; else `None`.
    pub likes_count: Option<i32>,
    /// When it was published, to the microsecond.
    pub published_at: Timestamp,
    /// Which it is.
    pub image_id: ImageId,
}

impl Cursor {
    /// The place of a picture.
    #[must_use]
    pub fn of(order: Order, likes_count: i32, published_at: Timestamp, image_id: ImageId) -> Self {
        Self { likes_count: (order == Order::Top).then_some(likes_count), published_at, image_id }
    }

    /// Reads what [`Display`](fmt::Display) wrote for the same order; `None` for anything else.
    #[must_use]
    pub fn parse(order: Order, text: &str) -> Option<Self> {
        let (likes_count, place) = match order {
            Order::New => (None, text.strip_prefix("new.")?),
            Order::Top => {
                let (likes_count, place) = text.strip_prefix("top.")?.split_once('.')?;
                (Some(likes_count.parse().ok().filter(|likes| *likes >= 0)?), place)
            }
        };
        let (microsecond, image_id) = place.split_once('.')?;
        let microsecond = microsecond.parse().ok().filter(|microsecond| *microsecond >= 0)?;
        let published_at = Timestamp::from_microsecond(microsecond).ok()?;
        let cursor = Self { likes_count, published_at, image_id: ImageId(image_id.parse().ok()?) };
        // Numbers and ids can be written in more ways than ours.
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.likes_count {
            Some(likes_count) => write!(f, "top.{likes_count}")?,
            None => write!(f, "new")?,
        }
        write!(f, ".{}.{}", self.published_at.as_microsecond(), self.image_id)
    }
}

/// Why somebody finds that a picture should not be in the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportReason {
    /// It shows somebody under age.
    Minor,
    /// It shows a real person.
    Person,
    /// It is sexual.
    Sexual,
    /// It is violent.
    Violence,
    /// Something else.
    Other,
}

impl ReportReason {
    /// The reason of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "minor" => Some(Self::Minor),
            "person" => Some(Self::Person),
            "sexual" => Some(Self::Sexual),
            "violence" => Some(Self::Violence),
            "other" => Some(Self::Other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_place_comes_back_as_it_was_for_its_own_order_only() {
        let published_at = Timestamp::from_microsecond(1_795_255_200_123_456).unwrap();
        for order in [Order::New, Order::Top] {
            let cursor = Cursor::of(order, 7, published_at, ImageId(Uuid::from_u128(0xab)));
            assert_eq!(Cursor::parse(order, &cursor.to_string()), Some(cursor));
            let other = if order == Order::New { Order::Top } else { Order::New };
            assert_eq!(Cursor::parse(other, &cursor.to_string()), None);
        }
    }

    #[test]
    fn what_we_did_not_write_is_no_place() {
        let id = Uuid::from_u128(0xab);
        for text in [
            String::new(),
            "new".to_owned(),
            "new..".to_owned(),
            format!("new.{id}"),
            format!("new.-1.{id}"),
            format!("new.+1.{id}"),
            format!("new.01.{id}"),
            format!("new.99999999999999999999.{id}"),
            format!("new.9223372036854775807.{id}"),
            format!("new.1.{}", id.simple()),
            format!("new.1.{}", id.to_string().to_uppercase()),
            format!("new.1.{id}."),
            format!(" new.1.{id}"),
            format!("new.1.2.{id}"),
        ] {
            assert_eq!(Cursor::parse(Order::New, &text), None, "{text}");
        }
        for text in [format!("top.1.{id}"), format!("top.-1.1.{id}"), format!("top.2147483648.1.{id}")] {
            assert_eq!(Cursor::parse(Order::Top, &text), None, "{text}");
        }
    }
}
