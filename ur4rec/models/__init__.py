"""The recommender: SASRec, the mixture-of-experts retriever, the memory, their fusion."""
