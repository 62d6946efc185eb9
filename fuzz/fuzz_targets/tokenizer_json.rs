#![no_main]
chargru_fuzz::fuzz!("tokenizer_json");
