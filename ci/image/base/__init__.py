"""The image that is built upon: chosen, fetched or bootstrapped, verified, and kept up to date."""
