"""What benches/abuse is made of."""
