"""Making the call: building the request, sending it, judging the answer."""
