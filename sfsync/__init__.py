"""sfsync: reverse ETL to Salesforce as code."""

__version__ = "0.1.0"
