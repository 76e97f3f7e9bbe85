//! Ids, each its own type, so that one cannot be handed over as another.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A person: `auth.users.id` and `users.id` alike.
    UserId
}
id! {
    /// A character: `influencers.id`.
    InfluencerId
}
id! {
    /// A picture that is asked for: `generation_jobs.id`.
    JobId
}
id! {
    /// A file: `assets.id`.
    AssetId
}
id! {
    /// A picture that can be in the grid: `images.id`.
    ImageId
}
