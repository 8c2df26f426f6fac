"""What adapters share: HTTP calls, JSON mapping, CSV files, parallel calls."""
