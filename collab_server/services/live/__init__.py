"""What goes out by itself to those who are connected: events, presence, notifications, the end of a subscription."""
