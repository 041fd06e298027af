select company_id, parent_id, primary_contact_id, name, industry, country
from {{ ref('companies') }}
