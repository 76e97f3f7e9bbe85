//! Supabase's data API (PostgREST, <https://docs.postgrest.org>): one file for each table or group of RPCs.
//!
//! [`Service`] holds the secret key and calls the RPCs that move state. [`AsCaller`] holds the publishable key and reads
//! as the user whose token it is given, so that row-level security decides. No rule lives here.

mod account;
mod admin;
mod assets;
mod billing;
mod checkout;
mod dashboard;
mod generation;
mod identities;
mod images;
mod influencers;
mod invariants;
mod operator;
mod rest;

pub use account::{Deletion, LeaveOutcome};
pub use admin::{Bought, FailedJob, JobsInState};
pub use assets::{AnnounceOutcome, Upload, UploadStanding, Verdict};
pub use billing::{Applied, Begun, Change, Goods, PeriodItem, PricedLine, Purchase, Reversal, SubscriptionState};
pub use checkout::{CheckoutContext, KeepOutcome, Wanted};
pub use dashboard::{AsCaller, Dashboard, LedgerLine, Offers, OwnInfluencer, OwnSubscription, PackOffer, PlanOffer};
pub use generation::{
    CancelOutcome, ClaimOutcome, ClaimedJob, CreateJobOutcome, GenerationOptions, GenerationWish, JobMove, JobOutput,
    JobSummary, OwnJob, OwnOutput, OwnUpload, Swept,
};
pub use identities::EnterOutcome;
pub use images::{GridImage, HideOutcome, LikeOutcome, PublishOutcome, ReportOutcome, ReportedImage};
pub use influencers::{CallbackOutcome, FailOutcome, Influencer, LockOutcome, RequestOutcome, Service, SetUp};
pub use invariants::{Broken, Invariant, LastHour};
pub use operator::{
    Audit, Preview, Priced, StoredEvent, StoredPurchase, StoredReversal, SubscribedTwice, Unbalanced, UnknownCustomer,
};
pub use rest::SupabaseError;
