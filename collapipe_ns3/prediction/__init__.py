"""What a plan will take, by what was measured and learned: closed forms and the event graph."""
