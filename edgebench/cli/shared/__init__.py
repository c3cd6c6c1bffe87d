"""What several commands share: options, arguments, progress, streams."""
