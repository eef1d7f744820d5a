"""What every room stands on: files, inputs, progress, signals, threads, registries, configs."""
