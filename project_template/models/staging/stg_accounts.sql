-- Staging models give each raw table clean columns and nothing else: no joins, no business rules.
-- ref('crm_accounts') is the seed seeds/crm_accounts.csv.
select
    account_id,
    {{ blank('name') }} as account_name,
    {{ blank('phone') }} as phone,
    {{ blank('website') }} as website,
    {{ blank('industry') }} as industry,
    -- The export writes 'n/a' into number columns, so the seed keeps them as text. sfsync sends text
    -- that is a number as a number and rejects what is not: no cast is needed that could stop the run.
    {{ blank('employees') }} as employees,
    {{ blank('annual_revenue') }} as annual_revenue,
    {{ blank('street') }} as street,
    {{ blank('city') }} as city,
    {{ blank('postal_code') }} as postal_code,
    {{ blank('country') }} as country,
    {{ blank('description') }} as description,
    customer_since,
    last_seen,
    nps
from {{ ref('crm_accounts') }}
