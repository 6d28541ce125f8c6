//! Durations, sizes and rates as the configuration writes them: `10s`, `64KiB`, `50/s`.
