//! The public grid and its RPCs (`infra/supabase/migrations/*_grid*.sql`).

use std::collections::BTreeMap;

use domain::{
    grid::{Cursor, Order, ReportReason},
    id::{ImageId, UserId},
    text::HidingReason,
};
use jiff::Timestamp;
use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    dashboard::AsCaller,
    influencers::Service,
    rest::{SupabaseError, request, send},
};

/// A picture in the grid, as its readers may see it.
#[derive(Debug, Deserialize, Serialize)]
pub struct GridImage {
    /// Its id.
    pub id: ImageId,
    /// Where the original lies; the other sizes lie beside it.
    pub object_key: String,
    /// The words that it was made from.
    pub prompt: String,
    /// How many like it.
    pub likes_count: i32,
    /// Whom it shows, if that is a character.
    pub character_name: Option<String>,
    /// Pixels of the original.
    pub width: i32,
    /// Pixels of the original.
    pub height: i32,
    /// What to show until it is loaded.
    pub blurhash: Option<String>,
    /// Since when it is in the grid.
    pub published_at: Timestamp,
    /// The caller likes it.
    #[serde(default)]
    pub liked: bool,
    /// It is the caller's.
    #[serde(default)]
    pub mine: bool,
}

/// What came of [`Service::publish_image`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PublishOutcome {
    /// It is as she wants it.
    Done {
        /// Since when it is in the grid; `None` when it is not.
        published_at: Option<Timestamp>,
    },
    /// An admin keeps it out.
    Hidden,
    /// There is no such picture of hers.
    NotFound,
}

/// What came of [`Service::like_image`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum LikeOutcome {
    /// It is as she wants it.
    Done {
        /// How many like it now.
        likes_count: i32,
    },
    /// There is no such picture in the grid.
    NotFound,
    /// There is no such user (any more).
    NoUser,
}

/// What came of [`Service::report_image`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReportOutcome {
    /// It is, or was before.
    Reported,
    /// There is no such picture in the grid.
    NotFound,
    /// There is no such user (any more).
    NoUser,
}

/// What came of [`Service::hide_image`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum HideOutcome {
    /// It is as she wants it.
    Done {
        /// Since when it is kept out; `None` when it is not.
        hidden_at: Option<Timestamp>,
        /// What its owner is told.
        hidden_reason: Option<String>,
    },
    /// She may not.
    NotAnAdmin,
    /// There is no such picture.
    NotFound,
}

/// A picture that somebody reported.
#[derive(Clone, Debug, Deserialize)]
pub struct ReportedImage {
    /// Its id.
    pub id: ImageId,
    /// Whose it is.
    pub user_id: UserId,
    /// How many reported it.
    pub reports: u32,
    /// How many for which reason.
    pub reasons: BTreeMap<String, u32>,
    /// When it was reported last.
    pub last_reported_at: Timestamp,
    /// Since when it is in the grid, if it is.
    pub published_at: Option<Timestamp>,
}

impl AsCaller {
    /// At most `limit` pictures of the grid, those after the place `after`, as the user whose `token` it is or as nobody.
    ///
    /// # Errors
    /// As [`AsCaller::dashboard`].
    pub async fn grid(
        &self,
        token: Option<&SecretString>,
        order: Order,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<GridImage>, SupabaseError> {
        let arguments = json!({
            "p_order": order, "p_likes_count": after.and_then(|after| after.likes_count),
            "p_published_at": after.map(|after| after.published_at), "p_image_id": after.map(|after| after.image_id),
            "p_limit": limit,
        });
        send(request(&self.http, Method::POST, &self.url, "/rest/v1/rpc/grid", &self.key, token).json(&arguments)).await
    }
}

impl Service {
    /// Shows a picture of hers in the grid, or takes it out. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn publish_image(
        &self,
        user_id: UserId,
        image_id: ImageId,
        published: bool,
    ) -> Result<PublishOutcome, SupabaseError> {
        let arguments = json!({ "p_user_id": user_id, "p_image_id": image_id, "p_published": published });
        self.rpc("publish_image", &arguments).await
    }

    /// Likes a picture in the grid, or takes that back. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn like_image(
        &self,
        user_id: UserId,
        image_id: ImageId,
        liked: bool,
    ) -> Result<LikeOutcome, SupabaseError> {
        let arguments = json!({ "p_user_id": user_id, "p_image_id": image_id, "p_liked": liked });
        self.rpc("like_image", &arguments).await
    }

    /// Reports a picture in the grid; her first reason stays. Atomic and repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn report_image(
        &self,
        user_id: UserId,
        image_id: ImageId,
        reason: ReportReason,
    ) -> Result<ReportOutcome, SupabaseError> {
        let arguments = json!({ "p_user_id": user_id, "p_image_id": image_id, "p_reason": reason });
        self.rpc("report_image", &arguments).await
    }

    /// Keeps a picture out of the grid for a reason, or with `None` lets it in again, if `user_id` is an admin. Atomic and
    /// repeatable.
    ///
    /// # Errors
    /// When the database gives no usable answer; repeat it then.
    pub async fn hide_image(
        &self,
        user_id: UserId,
        image_id: ImageId,
        reason: Option<&HidingReason>,
    ) -> Result<HideOutcome, SupabaseError> {
        let arguments = json!({ "p_user_id": user_id, "p_image_id": image_id, "p_reason": reason });
        self.rpc("hide_image", &arguments).await
    }

    /// Pictures that were reported and that no admin has hidden, the last reported first, at most `limit`.
    ///
    /// # Errors
    /// When the database gives no usable answer.
    pub async fn reported_images(&self, limit: usize) -> Result<Vec<ReportedImage>, SupabaseError> {
        let columns = "id,user_id,reports,reasons,last_reported_at,published_at";
        let newest = [("hidden_at", "is.null"), ("order", "last_reported_at.desc,id"), ("limit", &limit.to_string())];
        send(self.read("admin_reported_images", columns).query(&newest)).await
    }
}
