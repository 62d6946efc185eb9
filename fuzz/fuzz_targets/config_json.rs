#![no_main]
chargru_fuzz::fuzz!("config_json");
