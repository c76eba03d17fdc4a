"""CollaPipe over ns-3: a study is planned, executed and recorded a round at a time."""
