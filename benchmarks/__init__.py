"""Speed, measured against a floor of the same run: what the machine could do at best with the same statements."""
