//! Flows across functions, on the real local parts: Postgres, PostgREST and auth (`@supabase/lite`), S3 and SQS (moto), the
//! functions as processes on the Lambda runtime API. Run by `make test`, which starts the parts and hands their settings over
//! as environment, the way Lambda hands them to a function.
#![cfg(test)]
// For the long lists in json!.
#![recursion_limit = "256"]

mod admin;
mod auth_tokens;
mod callback;
mod checkout;
mod clean_up;
mod contract;
mod create;
mod credits;
mod dashboard;
mod doubles;
mod events;
mod faults;
mod fetch;
mod generation;
mod generation_faults;
mod grid;
mod identities;
mod image_models;
mod invariants;
mod jobs_api;
mod leaving;
mod likes;
mod listener;
mod localstripe;
mod main_job;
mod metrics;
mod migrations;
mod money_model;
mod official_stripe;
mod operate;
mod operate_queues;
mod portal;
mod row_security;
mod stack;
mod stripe_client;
mod structure;
mod traces;
mod unreliable;
mod uploads;
mod webhook;
mod worker;
