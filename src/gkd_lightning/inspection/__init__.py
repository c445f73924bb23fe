"""Looking into what training has made: `gkd inspect`. One module per instrument."""
