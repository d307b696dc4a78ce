"""Generated logs, whose truth is known: a module per log, and what they share: random streams
(`streams`), drawing and writing (`log`), reading (`reader`)."""
