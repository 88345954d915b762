"""All that knows Track.co: requests, answers, the mapping of its fields, failures. Another vendor is another folder."""
