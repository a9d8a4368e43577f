"""Every metric over every video, with intervals."""
