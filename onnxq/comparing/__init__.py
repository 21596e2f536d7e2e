"""Compare the answers of two models, graphs or engines, through Polygraphy."""
