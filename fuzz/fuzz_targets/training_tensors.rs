#![no_main]
chargru_fuzz::fuzz!("training_tensors");
