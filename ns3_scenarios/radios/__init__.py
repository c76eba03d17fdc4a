"""The radios of a network: what each needs of ns-3, and what it can carry between whom."""
