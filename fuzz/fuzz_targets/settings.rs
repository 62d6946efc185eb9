#![no_main]
chargru_fuzz::fuzz!("settings");
