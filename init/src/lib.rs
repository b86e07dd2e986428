#![no_std]
//! The plan.
