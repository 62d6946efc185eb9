#![no_main]
chargru_fuzz::fuzz!("fill");
