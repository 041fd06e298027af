select person_id, company_id, manager_id, first_name, last_name, email, title
from {{ ref('people') }}
