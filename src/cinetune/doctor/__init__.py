"""What fits a GPU and how fast it will be, before anything is downloaded or trained: estimates from sizes alone."""
