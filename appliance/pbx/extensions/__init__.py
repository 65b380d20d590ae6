"""Extensions (numbers) and devices (what rings)."""
